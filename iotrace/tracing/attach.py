"""Loading the programs of a form, and attaching them to what they are made for."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from iotrace.errors import Failure
from iotrace.kernel.plan import Form
from programs.facts.catalogue import BESIDE
from programs.facts.hooks import FUNCTION_PREFIX, Hook
from pybpf import links
from pybpf.maps import Map, ProgArray, create
from pybpf.programs import Program, VerifierError, load, load_all
from pybpf.types.btf import Btf
from pybpf.types.tracefs import Tracefs, TracefsError

_ATTACH_TYPE = {"fentry": 24, "fexit": 25}  # BPF_TRACE_FENTRY, BPF_TRACE_FEXIT of enum bpf_attach_type


class Attachment:
    """The loaded programs of a form, and their links; `missing` names the system calls that cannot be traced."""

    def __init__(self, form: Form, machine: str, maps: Mapping[str, Map[Any]], tracefs: Optional[Tracefs]) -> None:
        """Load everything. Raises BpfError and Failure."""
        self.form = form
        self.programs: List[Program] = []
        self._machine = machine
        self._maps = maps
        self._tracefs = tracefs
        self._stack = ExitStack()
        self._by_name: Dict[Tuple[str, int], Program] = {}
        self._links: List[links.Link] = []
        self._prototypes: Dict[str, int] = {}
        self.missing: List[str] = []
        try:
            if any(hook.kind == "fentry" for _, hook in form.hooks):
                self._load_functions()
            else:
                self._load_plain()
        except BaseException:
            self.close()
            raise

    def _load(
        self, name: str, group: int, maps: Mapping[str, Map[Any]], kind: Optional[int] = None, target: int = 0
    ) -> None:
        program = load(self.form.programs[name], maps, expected_attach_type=kind, attach_btf_id=target)
        self._by_name[(name, group)] = self._stack.enter_context(program)
        self.programs.append(program)

    def _load_plain(self) -> None:
        loaded = load_all(list(self.form.programs.values()), self._maps)
        for name in self.form.programs:
            self._by_name[(name, 0)] = self._stack.enter_context(loaded[name])
            self.programs.append(loaded[name])
        self._fill(ProgArray.of(self._maps["jumps"]), 0, self.form.jumps)

    def _fill(self, table: ProgArray, group: int, jumps: Mapping[int, str]) -> None:
        for index, name in jumps.items():
            table.set(index, self._by_name[(name, group)])

    def _load_functions(self) -> None:
        """Programs on functions: a tail call needs the same attach type and prototype on both its ends, so that what is
        tail-called is loaded for each prototype that the functions have (x86_64 has two)."""
        btf = Btf.vmlinux()
        prefix = FUNCTION_PREFIX[self._machine]
        hooked = {hook.name for _, hook in self.form.hooks if hook.kind == "fentry"}
        found = btf.functions(prefix + name for name in hooked)
        ids = {name: found[prefix + name] for name in hooked if prefix + name in found}
        self._prototypes = {name: btf.prototype(number) for name, number in ids.items()}
        # BTF leaves out functions whose arguments it cannot tell, such as that of sync(2), which uses none.
        self.missing += sorted(hooked & BESIDE - ids.keys())
        attached = {program for program, _ in self.form.hooks}
        shared = [name for name in self.form.programs if name not in attached]
        for prototype in set(self._prototypes.values()):
            alike = [name for name, other in self._prototypes.items() if other == prototype]
            try:
                self._load_group(prototype, min(ids[name] for name in alike), shared, ids)
            except VerifierError:
                # Of a call that can be configured out, 5.10's BTF has only the stub, whose argument has no known type.
                if "read" in alike:
                    raise
                self.missing += sorted(alike)
                self._prototypes = {name: n for name, n in self._prototypes.items() if n != prototype}
        for program, hook in self.form.hooks:
            if hook.kind not in _ATTACH_TYPE:
                self._load(program, 0, self._maps)

    def _load_group(self, prototype: int, target: int, shared: List[str], ids: Mapping[str, int]) -> None:
        """Everything for the functions of one prototype; `target` is any of them."""
        for kind, number in _ATTACH_TYPE.items():
            table = self._stack.enter_context(create(self._maps["jumps"].spec, ProgArray))
            maps = {**self._maps, "jumps": table}
            side = [name for name in shared if (name in self.form.entering) == (kind == "fentry")]
            for name in side:
                self._load(name, prototype, maps, number, target)
            for name, hook in self.form.hooks:
                if hook.kind == kind and self._prototypes.get(hook.name) == prototype:
                    self._load(name, prototype, maps, number, ids[hook.name])
            self._fill(table, prototype, {index: name for index, name in self.form.jumps.items() if name in side})

    @property
    def entered(self) -> List[Program]:
        """The programs that are attached: the kernel counts a run as theirs, whatever tail calls follow."""
        attached = {name for name, _ in self.form.hooks}
        return [program for (name, _), program in self._by_name.items() if name in attached]

    def named(self, name: str) -> Optional[Program]:
        """A program that is loaded once, by its name."""
        return self._by_name.get((name, 0))

    # -- attaching --------------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Attach everything; the programs refuse calls until they are switched on. Raises BpfError and Failure."""
        for name, hook in self.form.hooks:
            self._links.extend(self._links_of(name, hook))

    def _links_of(self, name: str, hook: Hook) -> Iterator[links.Link]:
        if hook.kind == "raw_tracepoint":
            yield links.raw_tracepoint(self._by_name[(name, 0)], hook.name)
        elif hook.kind == "tracepoint":
            yield from self._tracepoint(name, hook)
        elif hook.name in self._prototypes:  # a call that this kernel has
            yield links.tracing(self._by_name[(name, self._prototypes[hook.name])])

    def _tracepoint(self, name: str, hook: Hook) -> Iterator[links.Link]:
        assert self._tracefs is not None
        if hook.category == "syscalls" and not self._tracefs.exists(hook.category, hook.name):
            return  # a call that this kernel does not have
        try:
            number = self._tracefs.event_id(hook.category, hook.name)
        except TracefsError as error:
            raise Failure(f"this kernel has no tracepoint {hook.category}:{hook.name}: {error}") from error
        yield links.tracepoint(self._by_name[(name, 0)], number)

    def close(self) -> None:
        """Detach and unload everything; twice does nothing."""
        links.close_all(self._links)
        self._links = []
        self._stack.close()
