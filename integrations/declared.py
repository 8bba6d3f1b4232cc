"""Read a YAML file that people write into one model; what is wrong is named with file, line and nearest neighbour."""

import difflib
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from integrations.errors import WrongUsage

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]


def load_declared(path: Path, model: type[Model]) -> Model:
    """Read `path` as one `model`. Raises WrongUsage with file and line when something is unknown, missing or wrong."""
    try:
        text = path.read_text(encoding="utf-8")
        values = yaml.load(text, Loader=yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage("the file cannot be read", where=str(path), to_do="give a readable UTF-8 file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise WrongUsage("this is not YAML", where=f"{path}{line}", to_do="mend the line") from None
    try:
        return model.model_validate({} if values is None else values)
    except ValidationError as error:
        raise _explained(error, path, yaml.compose(text, Loader=yaml.CSafeLoader), model) from None


def _explained(error: ValidationError, path: Path, root: yaml.Node | None, model: type[BaseModel]) -> WrongUsage:
    # An unknown key first: a name that is misspelt is missing too.
    first = min(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
    location = first["loc"]
    where = f"{path}, line {_line(root, location)}"
    name = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        return WrongUsage(f"unknown key {name}", where=where, to_do=_hint(model, location))
    return WrongUsage(f"{name or path.name}: {first['msg']}", where=where, to_do="mend the value")


def _line(node: yaml.Node | None, location: Location) -> int:
    """The line of the deepest part of `location` that stands in the file."""
    line = node.start_mark.line + 1 if node else 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _hint(model: type[BaseModel], location: Location) -> str:
    known = _names(model)
    near = difflib.get_close_matches(str(location[-1]), known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def _names(model: type[BaseModel]) -> list[str]:
    """Every key that the model and the models inside it know."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        names.append(field.alias or name)
        for inner in _models_in(field.annotation):
            names.extend(_names(inner))
    return list(dict.fromkeys(names))


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]
