"""Reads a Dockerfile, and carries its steps out in a Debian in a folder: those instructions that ours has, no others."""

import dataclasses
import json
import re
import shutil


@dataclasses.dataclass
class Stage:
    name: str
    base: str
    steps: list  # (instruction, its text)
    # What an image has besides its files.
    user: str = ""
    entrypoint: list = dataclasses.field(default_factory=list)
    command: list = dataclasses.field(default_factory=list)
    health: list = dataclasses.field(default_factory=list)
    health_options: dict = dataclasses.field(default_factory=dict)
    ports: list = dataclasses.field(default_factory=list)
    volumes: list = dataclasses.field(default_factory=list)


def read(path):
    """Its stages by name."""
    text = "".join(line for line in path.read_text().splitlines(keepends=True) if not line.lstrip().startswith("#"))
    stages = {}
    stage = None
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            stage = stages[name] = Stage(name, base, [])
            if base in stages:
                stage.user = stages[base].user
        elif word == "USER":
            stage.user = rest
        elif word == "EXPOSE":
            stage.ports = [int(port) for port in rest.split()]
        elif word == "VOLUME":
            stage.volumes = rest.split()
        elif word == "ENTRYPOINT":
            stage.entrypoint = json.loads(rest)
        elif word == "CMD":
            stage.command = json.loads(rest)
        elif word == "HEALTHCHECK":
            options, _, command = rest.partition(" CMD ")
            stage.health_options = dict(re.findall(r"--([\w-]+)=(\d+)s", options))
            stage.health = json.loads(command)
        elif word in ("RUN", "COPY"):
            stage.steps.append((word, rest.strip()))
        else:
            raise ValueError(f"{path}: {line}")
    return stages


def carry_out(stage, root, folders):
    """The steps of a stage. `folders` are those of other stages: {(stage, path): the folder here}."""
    for word, text in stage.steps:
        if word != "RUN":
            raise ValueError(f"{stage.name}: {word} {text}")
        mounted = []
        while found := re.match(r"--mount=type=bind,from=(\S+),source=(\S+),target=(\S+)\s+", text):
            text = text[found.end() :]
            shutil.copytree(folders[found[1], found[2]], root / found[3])
            mounted.append(root / found[3])
        root.run("/bin/sh", "-c", text)
        for path in mounted:
            shutil.rmtree(path)
