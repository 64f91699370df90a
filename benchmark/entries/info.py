"""submission_info.yml: what the competition's board says of an entry."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from benchmark.entries.layout import FIELDS, FRAMEWORK_FIELD, RULESET_FIELD
from benchmark.errors import UserError, one_line


def read(path: Path) -> dict[str, str]:
    """The fields of a submission_info.yml, as text.

    Raises:
      UserError: no such file, no YAML, or no mapping of names to values.
    """
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {one_line(error)}") from None
    if not isinstance(fields, dict):
        raise UserError(f"{path}: not a mapping (allowed: lines of field: value)")
    return {str(name): "" if value is None else str(value) for name, value in fields.items()}


def write_fields(
    general: Mapping[str, str], folder: str, ruleset: str, framework: str, path: Path
) -> str:
    """The text of an entry's submission_info.yml, one field a line.

    Args:
      general: the fields of the submission in this repository, for all frameworks and rulesets.
      folder: the entry's name.
      ruleset, framework: of `layout`.
      path: where `general` stands, for errors.

    Raises:
      UserError: a field is missing or empty, or holds what the competition's CI would lose: it
        reads line by line and cuts each at `#`.
    """
    fields = dict(general) | {
        "submission_name": f"{general.get('submission_name', '')} ({FRAMEWORK_FIELD[framework]})",
        "submission_folder": folder,
        "ruleset": RULESET_FIELD[ruleset],
        "framework": FRAMEWORK_FIELD[framework],
    }
    for name in FIELDS:
        value = general.get(name, "") if name == "submission_name" else fields.get(name, "")
        if not value.strip():
            raise UserError(f"{path}: no {name} (allowed: a text)")
        if "#" in value or "\n" in value.strip():
            raise UserError(f"{path}: {name}: {value!r} (allowed: one line without #)")
    return yaml.safe_dump(
        {name: fields[name].strip() for name in FIELDS},
        sort_keys=False,
        allow_unicode=True,
        width=1_000_000,
    )
