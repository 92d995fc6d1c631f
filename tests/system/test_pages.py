"""The pages in a real browser, against the whole installation."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, expect, sync_playwright

from tests.support.doors import Workspace
from tests.system.suite import Suite

EXAMPLES = Path(__file__).parents[2] / "examples"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# It must run as root in a container, and ask nobody outside for anything.
SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
SLOW = """
cwlVersion: v1.2
$namespaces: {s: https://schema.org/}
s:softwareVersion: 1.0.0
$graph:
- class: Workflow
  id: slow
  label: A <b>slow</b> "one" & </script>
  inputs: {lines: {type: int, default: 4}}
  outputs: {}
  steps:
    count: {run: '#tool', in: {lines: lines}, out: [done]}
    finish: {run: '#tool', in: {lines: {default: 1}, after: count/done}, out: []}
- class: CommandLineTool
  id: tool
  baseCommand: [python3, -u, -c]
  arguments:
    - |
      import sys, time
      for number in range(int(sys.argv[1])):
          print(f"\\x1b[32mline {number}\\x1b[0m <img src=x onerror=alert(1)> </script>", file=sys.stderr)
          time.sleep(0.6)
  inputs: {lines: {type: int, inputBinding: {position: 1}}, after: int?}
  outputs: {done: {type: int, outputBinding: {outputEval: $(inputs.lines)}}}
"""


pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed.")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, workspace: Workspace) -> Iterator[BrowserContext]:
    """A browser of somebody who is not signed in. No script of a page may fail, and no page may break its policy."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{workspace.port}")
    context.set_default_timeout(20_000)
    said: list[str] = []

    def refuse(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    def complain(message: ConsoleMessage) -> None:
        if "Content Security" in message.text:
            said.append(message.text)

    context.on("weberror", lambda error: said.append(str(error.error)))
    context.on("console", complain)
    context.on("dialog", refuse)
    yield context
    context.close()
    assert said == []


@pytest.fixture
def page(context: BrowserContext, workspace: Workspace) -> Page:
    """A page of somebody who is signed in as the owner of the workspace."""
    page = context.new_page()
    page.goto(f"/signin#{workspace.token}")
    page.wait_for_url(f"**/workspaces/{workspace.name}")
    return page


@pytest.fixture
def neighbor() -> Iterator[str]:
    """A site on the same host, so that the cookie goes along, and another port, so that it is another origin."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Neighbor</title>")

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_whoever_comes_without_a_token_is_led_through_signing_in(context: BrowserContext, workspace: Workspace) -> None:
    page = context.new_page()
    wanted = f"/workspaces/{workspace.name}/jobs?status=failed"

    page.goto(wanted)
    expect(page.get_by_role("heading", name="Sign in first")).to_be_visible()
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Your token").fill("nonsense")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("That is not a token.")).to_be_visible()
    page.get_by_label("Your token").fill(f"export TOKEN={workspace.token}")
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    assert page.url.endswith(wanted)
    assert workspace.token not in page.url


def test_a_link_asks_before_it_signs_in_somebody_else(page: Page, suite: Suite, workspace: Workspace) -> None:
    other = suite.issuer.user_token(workspace.name, role="owner", user="grace", lifetime=timedelta(hours=1))
    present = suite.issuer.user_token(workspace.name, role="owner", user="heidi", lifetime=timedelta(hours=1))
    page.context.clear_cookies()
    page.goto(f"/signin#{present}")
    page.wait_for_url(f"**/workspaces/{workspace.name}")

    page.goto(f"/signin#{other}")
    expect(page.get_by_text("signs you in as grace. In this browser heidi is signed in already")).to_be_visible()
    assert other not in page.url
    assert [present] == [cookie["value"] for cookie in page.context.cookies()]
    page.get_by_role("button", name="Stay heidi").click()
    page.wait_for_url(f"**/workspaces/{workspace.name}")
    assert [present] == [cookie["value"] for cookie in page.context.cookies()]

    page.goto(f"/signin#{other}")
    page.get_by_role("button", name="Sign in as grace").click()
    page.wait_for_url(f"**/workspaces/{workspace.name}")
    assert [other] == [cookie["value"] for cookie in page.context.cookies()]


@pytest.mark.parametrize("place", ["/%09/{}", "/%0A/{}", "//{}", "/%5C{}", "http://{}/", "/%09%5C{}"])
def test_signing_in_stays_on_this_site(page: Page, neighbor: str, workspace: Workspace, place: str) -> None:
    page.goto("/signin?next=" + place.format(urlsplit(neighbor).netloc))

    page.wait_for_url(f"http://127.0.0.1:{workspace.port}/workspaces/{workspace.name}")


def test_signing_out_forgets_the_token(page: Page, context: BrowserContext, workspace: Workspace) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/signin")

    page.goto(f"/workspaces/{workspace.name}")

    expect(page.get_by_role("heading", name="Sign in first")).to_be_visible()
    assert context.cookies() == []


def test_a_process_is_run_from_its_form_and_its_results_are_read(page: Page) -> None:
    page.get_by_role("link", name="Processes").first.click()
    page.get_by_role("link", name="Echo").click()
    page.get_by_label("Message").fill("<b>hello</b> </script>")
    page.get_by_label("Object").fill('{"large": 9007199254740993, "float": 1.0}')
    page.get_by_role("group", name="Numbers").get_by_role("spinbutton").fill("9007199254740993")
    page.get_by_role("group", name="Numbers").get_by_role("button", name="Add another").click()
    page.get_by_role("group", name="Numbers").get_by_role("spinbutton").nth(1).fill("-2")
    for side, value in (("West", "-4.5"), ("South", "50"), ("East", "2"), ("North", "58.25")):
        page.get_by_label(side).fill(value)
    page.get_by_label("Pause").fill("2")
    page.get_by_role("button", name="Run", exact=True).click()

    page.wait_for_url("**/jobs/*")
    page.evaluate("window.before = true")
    expect(page.get_by_role("heading", name="echo")).to_contain_text(re.compile("accepted|running"))
    expect(page.get_by_role("heading", name="echo")).to_contain_text("successful", timeout=20_000)
    assert page.evaluate("window.before"), "the page was loaded anew"
    page.get_by_role("link", name="Results").click()

    expect(page.get_by_text("<b>hello</b> </script>")).to_be_visible()
    assert "9007199254740993,-2" in page.content()
    assert '"large":9007199254740993' in page.locator("section", has=page.get_by_text("object")).inner_text()


def test_what_is_wrong_is_said_beside_the_field(page: Page, workspace: Workspace) -> None:
    page.goto(f"/workspaces/{workspace.name}/processes/echo")
    numbers = page.locator("[data-input=numbers]")
    page.get_by_label("Pause").fill("4000")
    numbers.get_by_role("spinbutton").fill("1")
    numbers.get_by_role("button", name="Add another").click()
    numbers.get_by_role("spinbutton").nth(1).fill("1.5")
    page.get_by_role("button", name="Run", exact=True).click()

    expect(page.get_by_role("alert").first).to_contain_text("Some inputs do not fit")
    expect(page.locator("[data-input=message] [data-error]")).to_have_text("This input is required.")
    expect(page.locator("[data-input=pause] [data-error]")).to_contain_text("4000")
    expect(numbers.locator("[data-error]")).to_contain_text("No. 2: 1.5")
    assert numbers.get_by_role("spinbutton").nth(1).get_attribute("aria-invalid") == "true"
    expect(page.get_by_label("Message")).to_be_focused()
    page.get_by_label("Message").fill("x")
    expect(page.locator("[data-input=message] [data-error]")).to_be_hidden()


def test_what_cannot_be_read_is_not_sent(page: Page, workspace: Workspace) -> None:
    page.goto(f"/workspaces/{workspace.name}/processes/echo")
    page.get_by_label("Message").fill("x")
    page.get_by_label("Object").fill("{broken")
    page.get_by_label("West").fill("1")
    page.get_by_role("button", name="Run", exact=True).click()

    expect(page.locator("[data-input=object] [data-error]")).to_contain_text("This is not JSON")
    expect(page.locator("[data-input=bbox] [data-error]")).to_contain_text("all four sides")
    assert workspace.ask("/jobs").json["jobs"] == []


def test_inputs_are_checked_without_running(page: Page, workspace: Workspace) -> None:
    page.goto(f"/workspaces/{workspace.name}/processes/echo")
    page.get_by_label("Message").fill("x")
    page.get_by_role("button", name="Check the inputs").click()

    expect(page.get_by_role("alert").first).to_have_text("The inputs fit. Nothing was run.")
    assert workspace.ask("/jobs").json["jobs"] == []


def test_a_file_of_this_computer_goes_along_and_an_image_comes_back(
    page: Page, workspace: Workspace, tmp_path: Path
) -> None:
    workspace.deploy((EXAMPLES / "raster-statistics/package.cwl").read_text())
    raster = json.loads((EXAMPLES / "raster-statistics/inputs.json").read_text())["inputs"]["raster"]
    (tmp_path / "scene.tif").write_bytes(base64.b64decode(raster["value"]))

    page.goto(f"/workspaces/{workspace.name}/processes/raster-statistics")
    page.get_by_label("From this computer").check()
    page.locator("input[type=file]").set_input_files(tmp_path / "scene.tif")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("link", name="Results").click(timeout=30_000)

    preview = page.get_by_alt_text("Preview of preview.png")
    expect(preview).to_be_visible()
    expect(preview).to_have_js_property("naturalWidth", 64)
    expect(page.get_by_text('"count": 2994')).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").first.click()
    assert download.value.path().stat().st_size > 0


def test_a_log_is_followed_while_it_grows(page: Page, workspace: Workspace) -> None:
    assert workspace.deploy(SLOW).status == 201
    job = workspace.accept("slow", {"lines": 5})

    page.goto(f"/workspaces/{workspace.name}/jobs/{job}")
    log = page.get_by_role("log")

    expect(log).to_contain_text("line 0 <img src=x onerror=alert(1)> </script>")
    assert "line 4" not in log.inner_text()
    expect(page.get_by_role("row", name="count").get_by_text("running")).to_be_visible()
    expect(page.get_by_role("tab", name="finish")).to_have_attribute("aria-selected", "true", timeout=20_000)
    page.get_by_role("tab", name="count").click()
    expect(log).to_contain_text("line 4")
    expect(page.get_by_role("heading", name="slow")).to_contain_text("successful", timeout=20_000)
    expect(page.get_by_role("row", name="count").get_by_text("successful")).to_be_visible()
    assert "\x1b" not in log.inner_text()


def test_a_failed_job_says_why(page: Page, workspace: Workspace) -> None:
    workspace.deploy((EXAMPLES / "failing-step/package.cwl").read_text())
    inputs = json.loads((EXAMPLES / "failing-step/inputs.json").read_text())["inputs"]
    job = workspace.accept("failing-step", inputs)

    page.goto(f"/workspaces/{workspace.name}/jobs/{job}")

    why = page.locator(".failure")
    expect(why).to_contain_text("A step of the workflow ended with an error", timeout=20_000)
    expect(why).to_contain_text("exit code 3")
    expect(why).to_contain_text("no calibration coefficients for B04")
    expect(page.get_by_role("row", name="calibrate")).to_contain_text("3")
    expect(page.get_by_role("tab", name="calibrate")).to_have_attribute("aria-selected", "true")
    page.goto(f"/workspaces/{workspace.name}/jobs/{job}/results")
    expect(page.get_by_text("no calibration coefficients for B04")).to_be_visible()
    page.get_by_role("link", name="One level up").click()
    expect(why).to_be_visible()


def test_a_running_job_is_dismissed_and_then_removed(page: Page, workspace: Workspace) -> None:
    job = workspace.accept("echo", {"message": "x", "pause": 600})

    page.goto(f"/workspaces/{workspace.name}/jobs/{job}")
    page.get_by_role("button", name="Dismiss").click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("button", name="Dismiss").click()
    page.get_by_role("dialog").get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("heading", name="echo")).to_contain_text("dismissed")
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()

    page.wait_for_url("**/jobs")
    expect(page.get_by_text("No job yet.")).to_be_visible()
    assert workspace.ask(f"/jobs/{job}").status == 404


def test_the_list_of_jobs_is_filtered_paged_and_renewed(page: Page, workspace: Workspace) -> None:
    jobs = [workspace.accept("echo", {"message": str(number)}) for number in range(3)]
    for job in jobs:
        workspace.end_of(job)

    page.goto(f"/workspaces/{workspace.name}/jobs?limit=2")
    expect(page.locator("[data-state]")).to_have_count(2)
    page.get_by_role("link", name="Older jobs").click()
    expect(page.locator("[data-state]")).to_have_count(1)
    page.goto(f"/workspaces/{workspace.name}/jobs")
    page.get_by_label("failed").check()
    page.wait_for_url("**/jobs?status=failed")
    expect(page.get_by_text("No job is like that.")).to_be_visible()
    page.get_by_role("link", name="All jobs").click()
    expect(page.locator("[data-state]")).to_have_count(3)
    workspace.accept("echo", {"message": "more", "pause": 1})
    expect(page.locator("[data-state]")).to_have_count(4, timeout=20_000)
    expect(page.get_by_role("row").nth(1)).to_contain_text("successful", timeout=20_000)


def test_pages_read_without_scripts(browser: Browser, workspace: Workspace) -> None:
    assert workspace.deploy(SLOW).status == 201
    job = workspace.accept("slow", {"lines": 1})
    workspace.end_of(job)
    context = browser.new_context(java_script_enabled=False, base_url=f"http://127.0.0.1:{workspace.port}")
    address = f"http://127.0.0.1:{workspace.port}"
    context.add_cookies(
        [{"name": "workflow_runner_token", "value": workspace.token or "", "sameSite": "Strict", "url": address}]
    )
    page = context.new_page()

    page.goto(f"/workspaces/{workspace.name}")
    page.get_by_role("link", name="Processes").first.click()
    page.get_by_role("link", name='A <b>slow</b> "one" & </script>').click()
    assert "The form needs JavaScript." in page.content()
    expect(page.get_by_label("lines")).to_have_value("4")
    page.get_by_role("link", name="Its jobs").click()
    page.get_by_role("link", name="slow").first.click()
    expect(page.get_by_role("heading", name="slow")).to_contain_text("successful")
    page.get_by_role("link", name="The whole log").click()
    expect(page.get_by_text("line 0 <img src=x onerror=alert(1)> </script>").first).to_be_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(browser: Browser, workspace: Workspace, scheme: str) -> None:
    assert workspace.deploy(SLOW).status == 201
    job = workspace.accept("slow", {"lines": 1})
    workspace.end_of(job)
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{workspace.port}",
        viewport={"width": 360, "height": 740},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(f"/signin#{workspace.token}")
    page.wait_for_url(f"**/workspaces/{workspace.name}")

    for path in (
        "",
        "/processes",
        "/processes/echo",
        "/jobs",
        f"/jobs/{job}",
        f"/jobs/{job}/logs",
        f"/jobs/{job}/results",
    ):
        page.goto(f"/workspaces/{workspace.name}{path}")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, path
    context.close()


def test_an_operation_of_the_api_is_tried(page: Page, workspace: Workspace) -> None:
    page.get_by_role("link", name="API", exact=True).click()
    page.locator("summary", has_text="/processes/echo/execution").click()
    operation = page.locator("details[open]")
    operation.get_by_label("Body").fill('{"inputs": {"message": "tried"}}')
    operation.get_by_label("Prefer").fill("respond-async")
    operation.get_by_role("button", name="Send").click()

    expect(operation.locator("[data-status]")).to_contain_text("201 Created")
    (job,) = workspace.ask("/jobs").json["jobs"]
    expect(operation.locator("[data-content]")).to_contain_text(job["jobID"])
    page.goto(f"/workspaces/{workspace.name}/api#WatchJob")
    watching = page.locator("#WatchJob")
    watching.get_by_label("jobID").fill(job["jobID"])
    watching.get_by_role("button", name="Send").click()
    expect(watching.locator("[data-content]")).to_contain_text("event: end")


def test_a_page_of_somebody_else_does_nothing_in_ones_name(
    page: Page, context: BrowserContext, workspace: Workspace, neighbor: str
) -> None:
    job = workspace.accept("echo", {"message": "x", "pause": 600})
    root = f"http://127.0.0.1:{workspace.port}/workspaces/{workspace.name}"
    other = context.new_page()
    other.goto(neighbor)

    tried = other.evaluate(
        """
        ([root, job]) => Promise.all([
          [`${root}/jobs`, {}],
          [`${root}/jobs`, { mode: "no-cors" }],
          [`${root}/jobs/${job}`, { method: "DELETE" }],
          [`${root}/processes/echo/execution`, {
            method: "POST", mode: "no-cors", body: '{"inputs": {"message": "x"}}',
            headers: { "Content-Type": "text/plain" },
          }],
        ].map(([url, options]) => fetch(url, { credentials: "include", ...options }).then((it) => it.type, () => "no")))
        """,
        [root, job],
    )
    other.set_content(
        f"""<form method="post" enctype="text/plain" action="{root}/processes/echo/execution">
        <input name='{{"inputs": {{"message": "' value='"}}}}'><button>Go</button></form>"""
    )
    other.get_by_role("button").click()
    other.wait_for_load_state()

    assert tried == ["no", "opaque", "no", "opaque"]
    assert [job] == [listed["jobID"] for listed in workspace.ask("/jobs").json["jobs"]]
    assert workspace.job(job)["status"] in ("accepted", "running")
    assert workspace.ask(f"/jobs/{job}", method="DELETE").status == 200
