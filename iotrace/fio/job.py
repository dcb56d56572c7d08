"""The text of a job file."""

from __future__ import annotations

import os
from typing import Iterator, List, NamedTuple, Sequence

from iotrace import text
from iotrace.fio import limits, names, seeds
from iotrace.fio.groups import Groups
from iotrace.fio.inference import ALL, Amount, Section, Setting, sections
from iotrace.fio.model import Load
from iotrace.profile.metrics import Header
from iotrace.release import version

_DRAWS = 500_000  # that seeds are looked for with: a second

_SHARE = 3  # of these, that one section may take: the small ones that come last need few


class Options(NamedTuple):
    """What is asked for."""

    directory: str = ""  # where the files go; not looked at with `in_place`
    in_place: bool = False  # use the original paths
    amount: Amount = ALL


class Job(NamedTuple):
    """A job file."""

    text: str
    names: List[str]  # of the loads: their files are called that, a dot and a number
    room: int  # bytes that its files take


def job(header: Header, source: str, groups: Groups, options: Options) -> Job:
    """A job file, from the groups of the profile called `source`."""
    left = _DRAWS
    lines = [*head(header, source, limits.of_job(header, groups), in_place=options.in_place), "[global]"]
    if not options.in_place:
        lines.append(f"directory={names.directory(options.directory)}")
    number = room = 0  # of jobs, as fio counts them; of files
    called = [names.name_of(load, index) for index, load in enumerate(groups.loads, 1)]
    for name, load in zip(called, groups.loads):
        lines += ["", *_about(load)]
        made = sections(load, options.amount)
        room += max((section.room for section in made), default=0)
        for section in made:
            seed = None
            if section.plan is not None and section.jobs == 1 and options.amount.runtime is None:
                seed, used = seeds.chosen(section, number + 1, left // _SHARE)
                left -= used
            number += section.jobs
            lines += [f"[{name}{section.label}]", _place(load, name, section, options)]
            lines += [line for setting in section.settings for line in written(setting)]
            if seed is not None:
                lines += written(
                    Setting("randseed", str(seed), "chosen: with it fio's draws come nearest to the profile")
                )
    return Job("\n".join(lines) + "\n", called, room)


def written(setting: Setting) -> List[str]:
    """The lines of a setting, its reason first."""
    return [*(names.comment(setting.why) if setting.why else ()), f"{setting.option}={setting.value}"]


def _place(load: Load, name: str, section: Section, options: Options) -> str:
    if options.in_place:
        return f"filename={names.original(load.examples[0])}"
    return names.files_of(name, load.files, section.jobs)


def _about(load: Load) -> Iterator[str]:
    yield from names.comment(load.summary)
    for path in load.examples:
        yield f"#   {names.path_comment(path)}"
    if load.files > len(load.examples):
        yield f"#   and {load.files - len(load.examples):,} more below {names.path_comment(load.common or b'/')}"
    for line in limits.of_load(load):
        yield from names.comment(line)


def head(header: Header, source: str, cannot: Sequence[str], *, in_place: bool = False) -> Iterator[str]:
    """Where a job comes from, and what it cannot say."""
    command = " ".join(map(os.fsdecode, header.command))
    took = text.duration(max(header.ended_ns - header.started_ns, 0))
    yield from names.comment(
        f"Made by iotrace {version()} from {source}"
        + (f": {command[:200]}" if command else "")
        + f", {took} on {header.host or 'a host'}"
    )
    if in_place:
        yield "# CAREFUL: this writes to the original files, and what was in them is lost."
    else:
        yield "# All files are made below `directory`, and nothing else is written."
    yield "#"
    yield "# What it cannot say:"
    for line in cannot:
        first, *more = names.comment(line)
        yield f"#  - {first[2:]}"
        yield from (f"#    {rest[2:]}" for rest in more)
    yield ""
