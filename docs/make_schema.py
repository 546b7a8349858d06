"""Write docs/schemas/config-1.json from the code that reads configs: `make docs`.

A test holds the file to it.
"""

from __future__ import annotations

import json
from pathlib import Path

from edgetl.pipeline.config_schema import config_schema

TARGET = Path(__file__).with_name("schemas") / "config-1.json"


def schema_text() -> str:
    """The whole file. Keys keep the order of the config, in which editors offer them."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(schema_text())
    print(f"wrote {TARGET}")
