"""Runs in OSACA's own Python: loops in, what OSACA's machine model says about each of them out.

Reads one JSON object from standard input: {"arch": "n1", "forms": [...], "loops": ["assembly text", ...]}, where a form
is an instruction that the caller adds to OSACA's database (see core_forms.py). Writes one JSON object per loop:
throughput (the busiest port), critical_path and loop_carried in cycles, ports, unknown (instructions without data).
"""

from __future__ import annotations

import json
import sys
from typing import Any

from osaca.osaca import get_asm_parser
from osaca.parser import BaseParser
from osaca.parser.identifier import IdentifierOperand
from osaca.parser.immediate import ImmediateOperand
from osaca.parser.instruction_form import InstructionForm
from osaca.parser.memory import MemoryOperand
from osaca.parser.prefetch import PrefetchOperand
from osaca.parser.register import RegisterOperand
from osaca.semantics import INSTR_FLAGS, ArchSemantics, KernelDG, MachineModel

LCD_TIMEOUT_S = 20
X86_REGISTERS = ("xmm", "ymm", "zmm", "gpr", "k")


def operand_of(kind: str, written: bool, read: bool) -> Any:
    """The pattern of an operand: core_forms.py says which letter means what."""
    if kind == "m":
        anything = {"base": "*", "offset": "*", "index": "*", "scale": "*"}
        return MemoryOperand(**anything, pre_indexed="*", post_indexed="*", source=read, destination=written)
    if kind == "i":
        return ImmediateOperand(imd_type="int", source=read, destination=written)
    if kind == "p":
        return PrefetchOperand(type_id="*", target="*", policy="*")
    if kind == "l":
        return IdentifierOperand()
    if kind in X86_REGISTERS:
        return RegisterOperand(name=kind, source=read, destination=written)
    return RegisterOperand(prefix=kind, shape="*", source=read, destination=written)


def add_form(model: MachineModel, isa: MachineModel, form: dict[str, Any]) -> None:
    """Put one instruction before OSACA's own entries, with its ports, and with what it reads and writes."""
    name, kinds = form["name"].upper(), form["operands"]
    result = form["result"]
    flags = [(i == result, i != result or form["accumulates"]) for i in range(len(kinds))]
    operands = [operand_of(kind, *flag) for kind, flag in zip(kinds, flags, strict=True)]
    entry = InstructionForm(
        mnemonic=name,
        operands=operands,
        latency=form["latency"],
        throughput=form["throughput"],
        port_pressure=form["port_pressure"],
        uops=len(form["port_pressure"]),
    )
    model["instruction_forms_dict"][name].insert(0, entry)
    if form["accumulates"]:
        isa["instruction_forms_dict"][name].insert(0, InstructionForm(mnemonic=name, operands=operands))


def analyse(text: str, parser: BaseParser, model: MachineModel, semantics: ArchSemantics) -> dict[str, Any]:
    kernel = parser.parse_file(text)
    semantics.normalize_instruction_forms(kernel)
    semantics.add_semantics(kernel)
    semantics.assign_optimal_throughput(kernel)
    semantics.assign_optimal_throughput(kernel)
    graph = KernelDG(kernel, parser, model, semantics, LCD_TIMEOUT_S)
    ports = dict(zip(model["ports"], ArchSemantics.get_throughput_sum(kernel), strict=True))
    carried = graph.get_loopcarried_dependencies()
    return {
        "throughput": round(max(ports.values()), 2),
        "critical_path": round(sum(line.latency_cp for line in graph.get_critical_path()), 2),
        "loop_carried": round(max((d["latency"] for d in carried.values()), default=0.0), 2),
        "loop_carried_timed_out": bool(graph.timed_out),
        "ports": {name: cycles for name, cycles in ports.items() if cycles > 0},
        "unknown": [
            " ".join(line.line.split())
            for line in kernel
            if line.mnemonic and {INSTR_FLAGS.TP_UNKWN, INSTR_FLAGS.LT_UNKWN} & set(line.flags)
        ],
    }


def main() -> None:
    request = json.load(sys.stdin)
    model = MachineModel(arch=request["arch"])
    parser = get_asm_parser(request["arch"], "ATT" if model.get_ISA().lower() == "x86" else None)
    semantics = ArchSemantics(parser, model)
    for form in request["forms"]:
        add_form(model, semantics.isa_model, form)
    for text in request["loops"]:
        print(json.dumps(analyse(text, parser, model, semantics)), flush=True)


if __name__ == "__main__":
    main()
