"""The landing page of a workspace and the conformance classes (OGC API - Common)."""

from services.ogc.requests import OGC_RELATIONS, OPENAPI, RestRequest
from services.shared.names import WorkspaceName
from workflow_runner.v1.status_service_pb2 import Conformance, LandingPage

PART_1 = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"
COMMON = "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/"
PART_2 = "http://www.opengis.net/spec/ogcapi-processes-2/1.0/conf/"

CONFORMANCE = (
    f"{COMMON}core",
    f"{COMMON}landing-page",
    f"{COMMON}json",
    f"{COMMON}oas30",
    f"{PART_1}core",
    f"{PART_1}ogc-process-description",
    f"{PART_1}json",
    f"{PART_1}html",
    f"{PART_1}oas30",
    f"{PART_1}job-list",
    f"{PART_1}callback",
    f"{PART_1}dismiss",
    f"{PART_2}deploy-replace-undeploy",
    f"{PART_2}ogcapppkg",
    f"{PART_2}cwl",
)


def landing_page(name: WorkspaceName, rest: RestRequest | None) -> LandingPage:
    """Makes the landing page; with links for a caller over REST."""
    page = LandingPage(
        title=f"Workflow Runner: workspace {name.workspace}",
        description=(
            "Deploy Earth-observation application packages as processes, execute them as jobs, follow the jobs and "
            "fetch their results (OGC API - Processes)."
        ),
    )
    if rest is not None:
        page.links.extend(
            [
                rest.link("self", rest.url(name), title="This page"),
                *rest.page_for_people(rest.url(name)),
                rest.link("service-desc", rest.url(name, "api"), media_type=OPENAPI, title="API definition"),
                rest.link(
                    "service-doc",
                    rest.url(name, "api") + ("" if rest.alias else "?f=html"),
                    media_type="text/html",
                    title="API, to read and to try",
                ),
                rest.link(OGC_RELATIONS + "conformance", rest.url(name, "conformance"), title="Conformance classes"),
                rest.link(OGC_RELATIONS + "processes", rest.url(name, "processes"), title="Processes"),
                rest.link(OGC_RELATIONS + "job-list", rest.url(name, "jobs"), title="Jobs"),
            ]
        )
    return page


def conformance() -> Conformance:
    """Lists the classes that are kept."""
    return Conformance(conforms_to=CONFORMANCE)
