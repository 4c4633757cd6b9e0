# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""validate.py SCHEMA FILE...: every line of the files is a record of the schema."""

import json
import sys

import jsonschema


def no_twins(pairs):
    """A member that is there twice is read as one by most readers: refuse it."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    wrong = 0
    for name in sys.argv[2:]:
        with open(name, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                try:
                    record = json.loads(line, object_pairs_hook=no_twins)
                except ValueError as error:
                    print(f"{name}:{number}: {error}")
                    wrong += 1
                    continue
                for error in validator.iter_errors(record):
                    print(f"{name}:{number}: {error.message}")
                    wrong += 1
    sys.exit(1 if wrong else 0)


main()
