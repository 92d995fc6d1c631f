"""Names that keep their characters on the way through the CWL library.

The library reads names of inputs, outputs, steps and fields, and the symbols of enumerations, as parts of addresses:
`eo:cloud_cover` becomes `cloud_cover`, `m/s` becomes `s`, and what follows a `?` is lost. Here a document is protected
before the library resolves it: each character that means something in an address is replaced by one of a private area,
and `cwl_library.py` lets the library put them back when it makes names again. What a package, a request, an expression
or a result says is never touched.
"""

import re
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

_AREA = 0xE000
"""Private Use Area: characters that nobody has a meaning for."""
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
_ENCODED = {code: _AREA + code for code in range(128) if chr(code) not in _PLAIN}
_SEALED = {code: _AREA + code for code in range(128)}
_DECODED = {encoded: code for code, encoded in _SEALED.items()}
_SHOWN = re.compile(r"\\ue0([0-7][0-9a-f])")
_MEDIA_TYPE = re.compile(
    r"(?:^|/)((?:application|audio|font|image|message|model|multipart|text|video)/[A-Za-z0-9.+-]+)$"
)
_TYPES = frozenset({"string", "int", "long", "float", "double", "boolean", "File", "Directory", "Any", "null"})
_STREAMS = frozenset({"stdin", "stdout", "stderr"})
_EXTENSION = ("http://commonwl.org/cwltool", "https://commonwl.org/cwltool")


def encoded(name: str) -> str:
    """Returns a name without any character that means something in an address."""
    return name.translate(_ENCODED)


def decoded(text: str) -> str:
    """Returns a text with all encoded names in it as they were written, also where the library shows their codes."""
    return _SHOWN.sub(lambda found: chr(int(found[1], 16)), text).translate(_DECODED)


def seal(value: Any) -> Any:
    """Returns a default with the names of members hidden, which the library would read as fields of the document."""
    if isinstance(value, list):
        value[:] = [seal(item) for item in value]
    elif isinstance(value, dict) and value.get("class") not in ("File", "Directory"):
        _rename(value, lambda name: name.translate(_SEALED))
        for name in value:
            value[name] = seal(value[name])
    return value


def unseal(process: Any) -> None:
    """Puts the names of members in the defaults of a process back, and of its steps, in place."""
    for holder in (process, *process.get("steps", ())):
        for parameter in holder.get("in") or holder.get("inputs") or ():
            if isinstance(parameter, dict) and "default" in parameter:
                parameter["default"] = _unsealed(parameter["default"])


def _unsealed(value: Any) -> Any:
    if isinstance(value, list):
        value[:] = [_unsealed(item) for item in value]
    elif isinstance(value, dict):
        _rename(value, lambda name: name.translate(_DECODED))
        for name in value:
            value[name] = _unsealed(value[name])
    return value


def is_private(name: str) -> bool:
    """Says whether a name uses the characters that others are encoded with."""
    return any(ord(character) in _DECODED for character in name)


def reference(written: str) -> str:
    """Returns a reference (`#main/size`, `step/out`, `size`) with its names encoded. Whole addresses stay."""
    if "://" in written or written.startswith(("_:", "file:")):
        return written
    document, mark, path = written.rpartition("#")
    return document + mark + "/".join(map(encoded, path.split("/")))


def symbol_names(symbols: list[Any]) -> list[str]:
    """Returns the values that the symbols of an enumeration stand for.

    A packed document writes them all as ids under one name (`#main/mode/fast`). In others the whole text is the value.
    """
    texts = [str(symbol) for symbol in symbols]
    prefixes = {text.rpartition("/")[0] for text in texts}
    packed = len(prefixes) == 1 and all(text.startswith("#") and "/" in text for text in texts)
    return [text.rpartition("/")[2] for text in texts] if packed else texts


def named_format(address: object) -> object:
    """Returns a format as the package names it. The library takes one without a prefix, such as a media type, for
    something in the package itself."""
    if not isinstance(address, str) or not address.startswith("file:"):
        return address
    named = unquote(address.rpartition("#")[2])
    media_type = _MEDIA_TYPE.search(named)
    return media_type[1] if media_type else named.rpartition("/")[2]


def is_extension(name: Any, namespaces: Any) -> bool:
    """Says whether a class is one of the extensions of cwltool, by whichever prefix."""
    prefix, colon, _ = str(name).partition(":")
    bound = namespaces.get(prefix) if isinstance(namespaces, dict) else None
    if colon and isinstance(bound, str):
        return bound.startswith(_EXTENSION)
    return name == "MPIRequirement" or str(name).startswith(("cwltool:", *_EXTENSION))


def protect(document: Any) -> None:
    """Encodes the names in a document, in place, and takes out the hints that mean something to cwltool alone."""
    if not isinstance(document, dict):
        return
    graph = document.get("$graph")
    namespaces = document.get("$namespaces")
    lists: list[list[Any]] = []
    for process in graph if isinstance(graph, list) else [graph] if isinstance(graph, dict) else [document]:
        if isinstance(process, dict):
            _process(process, namespaces, lists)
    _define_before_import(lists)


def _define_before_import(lists: list[list[Any]]) -> None:
    """Lets each type stand where it is imported first: the library reads a document from its beginning."""
    seen: dict[str, tuple[list[Any], int]] = {}
    for types in lists:
        for index, definition in enumerate(types):
            if not isinstance(definition, dict):
                continue
            name = str(definition.get("$import") or definition.get("name")).rpartition("#")[2]
            if name in seen and "$import" not in definition:
                first, place = seen[name]
                if "$import" in first[place]:
                    first[place], types[index] = definition, first[place]
            seen.setdefault(name, (types, index))


def _process(process: dict[str, Any], namespaces: Any, lists: list[list[Any]]) -> None:
    _names(process, "id")
    _requirements(process, namespaces, lists)
    for field in ("inputs", "outputs"):
        _parameters(process, field, "id")
        _each(process.get(field), lambda entry: _references(entry, "outputSource"))
    _each(process.get("inputs"), _sealed_default)
    _keys(process, "steps", "id")
    _each(process.get("steps"), lambda step: _step(step, namespaces, lists))


def _step(step: Any, namespaces: Any, lists: list[list[Any]]) -> None:
    if not isinstance(step, dict):
        return
    _requirements(step, namespaces, lists)
    _keys(step, "in", "id")
    inputs = step.get("in")
    if isinstance(inputs, dict):
        for name, source in inputs.items():
            if isinstance(source, (str, list)):
                _references(inputs, name)
    _each(inputs, lambda entry: _references(entry, "source"))
    _each(inputs, _sealed_default)
    _references(step, "scatter")
    _references(step, "out")
    _each(step.get("out"), lambda entry: _names(entry, "id"))
    if isinstance(step.get("run"), dict):
        _process(step["run"], namespaces, lists)
    else:
        _references(step, "run")


def _requirements(holder: dict[str, Any], namespaces: Any, lists: list[list[Any]]) -> None:
    hints = holder.get("hints")
    if isinstance(hints, dict):
        for name in [name for name in hints if is_extension(name, namespaces)]:
            del hints[name]
    elif isinstance(hints, list):
        hints[:] = [
            hint for hint in hints if not (isinstance(hint, dict) and is_extension(hint.get("class"), namespaces))
        ]
    for field in ("requirements", "hints"):
        asked = holder.get(field)
        if isinstance(asked, dict):
            _definitions(asked.get("SchemaDefRequirement"), lists)
        elif isinstance(asked, list):
            for entry in asked:
                if isinstance(entry, dict) and entry.get("class") == "SchemaDefRequirement":
                    _definitions(entry, lists)


def _definitions(requirement: Any, lists: list[list[Any]]) -> None:
    types = requirement.get("types") if isinstance(requirement, dict) else None
    if isinstance(types, list):
        for definition in types:
            if isinstance(definition, dict):
                _references(definition, "$import")
        types[:] = [_type(definition) for definition in types]
        lists.append(types)


def _parameters(holder: dict[str, Any], field: str, key: str) -> None:
    _keys(holder, field, key)
    parameters = holder.get(field)
    if isinstance(parameters, dict):
        for name, parameter in parameters.items():
            if not isinstance(parameter, dict):
                parameters[name] = _type(parameter)
    _each(parameters, _typed)


def _typed(parameter: Any) -> None:
    if isinstance(parameter, dict) and "type" in parameter:
        parameter["type"] = _type(parameter["type"])


def _type(written: Any) -> Any:
    if isinstance(written, str):
        name, suffix = written, ""
        while name.endswith(("[]", "?")):
            cut = 2 if name.endswith("[]") else 1
            name, suffix = name[:-cut], name[-cut:] + suffix
        return written if name in _TYPES | _STREAMS else reference(name) + suffix
    if isinstance(written, list):
        written[:] = [_type(member) for member in written]
    elif isinstance(written, dict):
        _names(written, "name")
        kind = written.get("type")
        if kind == "record":
            _parameters(written, "fields", "name")
        elif kind == "enum" and isinstance(written.get("symbols"), list):
            symbols = written["symbols"]
            symbols[:] = [
                symbol[: len(symbol) - len(name)] + encoded(name) if isinstance(symbol, str) else symbol
                for symbol, name in zip(symbols, symbol_names(symbols), strict=True)
            ]
        elif kind == "array":
            written["items"] = _type(written.get("items"))
        elif kind is not None:
            written["type"] = _type(kind)
    return written


def _each(entries: Any, change: Callable[[Any], None]) -> None:
    for entry in list(entries.values()) if isinstance(entries, dict) else entries if isinstance(entries, list) else []:
        change(entry)


def _sealed_default(entry: Any) -> None:
    if isinstance(entry, dict) and "default" in entry:
        entry["default"] = seal(entry["default"])


def _names(entry: Any, key: str) -> None:
    _references(entry, key)


def _references(entry: Any, key: str) -> None:
    if not isinstance(entry, dict):
        return
    written = entry.get(key)
    if isinstance(written, str):
        entry[key] = reference(written)
    elif isinstance(written, list):
        written[:] = [reference(one) if isinstance(one, str) else one for one in written]


def _keys(holder: dict[str, Any], field: str, key: str) -> None:
    """Encodes the names of entries, which are keys of a map or members of the entries of a list."""
    entries = holder.get(field)
    if isinstance(entries, dict):
        _rename(entries, reference)
    else:
        _each(entries, lambda entry: _references(entry, key))


def _rename(entries: MutableMapping[str, Any], change: Callable[[str], str]) -> None:
    if all(change(name) == name for name in entries):
        return
    content = list(entries.items())
    # The library's YAML mappings know the line of each key.
    places = getattr(getattr(entries, "lc", None), "data", None)
    for name, _ in content:
        del entries[name]
    for name, value in content:
        entries[change(name)] = value
        if places is not None and name in places:
            places[change(name)] = places[name]
