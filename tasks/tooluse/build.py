"""Builds `train.json` and `test.json` from `apis/*.toml`.

    python tasks/tooluse/build.py [FOLDER]

It needs sdpo-envs, installed or on PYTHONPATH, for the prompt.

One API is one TOML file: `split`, `name`, `description`, `functions` (each with its `summary`, its `parameters` in the
words of ToolAlpaca's documentation, its `output` and the `structure` of that) and `tasks` (each with a `question` and
the `calls` it asks for). Nothing is random, so a second run writes the same bytes.
"""

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

from sdpo_envs.tooluse import PROMPT

HERE = Path(__file__).resolve().parent

Api = dict[str, Any]


def main() -> None:
    """Write both files into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Build the bundled tool-use tasks.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE, help="where to write (default: beside this file)")
    folder = parser.parse_args().folder
    rows = [(api["split"], row) for api in read_apis() for row in sdpo_rows(api_record(api))]
    for split in ("train", "test"):
        chosen = [row | {"idx": idx} for idx, (of, row) in enumerate(rows) if of == split]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
        (folder / f"{split}.json").write_text(lines, "utf-8", newline="\n")


def read_apis() -> list[Api]:
    """Read every API, in the order of the files' names."""
    return [tomllib.loads(path.read_text("utf-8")) for path in sorted((HERE / "apis").glob("*.toml"))]


def api_record(api: Api) -> dict[str, Any]:
    """Return the API as a record of ToolAlpaca."""
    functions = {name: documentation(function) for name, function in api["functions"].items()}
    return {
        "Name": api["name"],
        "Description": api["description"],
        "NLDocumentation": "".join(f"{name}: {text}\n" for name, text in functions.items()),
        "Function_Description": functions | {"components": ""},
        "Instructions": [task["question"] for task in api["tasks"]],
        "Golden_Answers": [[golden(call) for call in task["calls"]] for task in api["tasks"]],
    }


def documentation(function: dict[str, Any]) -> str:
    """Return the documentation of one function as ToolAlpaca words it."""
    parameters = json.dumps(function.get("parameters", {}), ensure_ascii=False)
    output = f"{function['output']}\n - Format: application/json\n - Structure: {function['structure']}"
    return f"{function['summary']}\nParameters: {parameters}\nOutput: {output}"


def golden(call: dict[str, Any]) -> dict[str, str]:
    """Return one right call as ToolAlpaca and SDPO write it."""
    return {"Action": call["tool"], "Action_Input": json.dumps(call["input"], ensure_ascii=False)}


def sdpo_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row of SDPO's form for each instruction of a record of ToolAlpaca."""
    name, description, text = record["Name"], record["Description"], record["NLDocumentation"]
    rows = []
    for question, answer in zip(record["Instructions"], record["Golden_Answers"], strict=True):
        prompt = PROMPT.format(name=name, description=description, documentation=text, question=question)
        rows.append(
            {
                "prompt": prompt,
                "description": prompt,
                "idx": 0,
                "dataset": "tooluse",
                "system": None,
                "answer": json.dumps(answer, ensure_ascii=False),
                "tests": None,
                "kind": "tooluse",
                "elo": 1500,
            }
        )
    return rows


if __name__ == "__main__":
    main()
