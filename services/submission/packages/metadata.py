"""What a package says of itself in the words of schema.org: authors, licenses, addresses, keywords."""

from typing import Any

from services.submission.packages.structure import last

_TERMS = (
    *("author", "contributor", "creator", "publisher", "provider", "maintainer", "funder", "license"),
    *("codeRepository", "citation", "softwareHelp", "thumbnailUrl", "thumbnail", "image", "logo", "screenshot"),
)


def _schema_names(document: dict[str, Any], term: str) -> list[str]:
    """Gives the spellings of a schema.org term that occur: by any prefix bound to schema.org, by full URI, and bare."""
    namespaces = document.get("$namespaces")
    prefixes = ["s", "schema"]
    for prefix, uri in namespaces.items() if isinstance(namespaces, dict) else ():
        if "schema.org" in str(uri) and prefix not in prefixes:
            prefixes.append(prefix)
    uris = [f"{scheme}://{host}/{term}" for scheme in ("https", "http") for host in ("schema.org", "www.schema.org")]
    return [*(f"{prefix}:{term}" for prefix in prefixes), *uris, term]


def _metadata(document: dict[str, Any], process: dict[str, Any], term: str) -> Any:
    for holder in (process, document):
        for name in _schema_names(document, term):
            if holder.get(name) not in (None, "", []):
                return holder[name]
    return None


def metadata_value(document: dict[str, Any], process: dict[str, Any], term: str) -> str | None:
    """Returns one text that a package says of itself."""
    value = _metadata(document, process, term)
    if isinstance(value, list):
        value = value[0]
    return str(value) if isinstance(value, (str, int, float)) else None


def keywords(document: dict[str, Any], process: dict[str, Any]) -> list[str]:
    """Returns the keywords of a package, which are texts or terms of a vocabulary."""
    value = _metadata(document, process, "keywords")
    words = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    found = [_title(word) if isinstance(word, dict) else _text(word) for word in words]
    return [word for word in found if word]


def people(document: dict[str, Any], process: dict[str, Any]) -> list[dict[str, str]]:
    """Returns authors, contributors, license and addresses as OGC metadata: title and role, or title, role and href."""
    found = []
    for term in _TERMS:
        value = _metadata(document, process, term)
        for item in value if isinstance(value, list) else [value]:
            title = _title(item) if isinstance(item, dict) else _text(item)
            href = _address(item) if isinstance(item, dict) else title
            title = title or href
            if not title:
                continue
            entry = {"title": title, "role": f"https://schema.org/{term}"}
            if href.startswith(("https://", "http://")):
                entry["href"] = href
            found.append(entry)
    return found


def _title(thing: dict[str, Any]) -> str:
    """What a person or a thing is called."""
    named = _plain(thing)
    whole = " ".join(filter(None, (_text(named.get("givenname")), _text(named.get("familyname")))))
    names = (_text(named.get(term)) for term in ("name", "legalname", "title", "headline", "identifier", "termcode"))
    return next(names, "") or whole or next(filter(None, names), "")


def _address(thing: dict[str, Any]) -> str:
    named = _plain(thing)
    places = [_text(named.get(term)) for term in ("url", "@id", "id", "identifier", "sameas", "contenturl")]
    return next((place for place in places if place.startswith(("https://", "http://"))), "")


def _plain(thing: dict[str, Any]) -> dict[str, Any]:
    return {last_term(key).lower(): content for key, content in thing.items()}


def _text(value: Any) -> str:
    if isinstance(value, list) and value:
        return _text(value[0])
    return str(value).strip() if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def last_term(key: str) -> str:
    """Gives a term without its prefix or URI: `s:name` is `name`."""
    return last(key.rpartition(":")[2] if "://" not in key else key)
