"""The bundled science questions: every answer is found again here, from the question's words and by other formulas."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import product
from math import acos, cos, degrees, exp, isclose, log, log2, log10, pi, prod, radians, sin, sqrt
from pathlib import Path
from typing import Any

import pytest

from sdpo_envs.sciknoweval import DOMAINS, SYSTEM, parse_options

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tasks/sciknoweval"
RELEASED = ROOT / "../shared/data/sciknoweval/physics/test.json"
Row = dict[str, Any]
ROWS: dict[str, Row] = {
    f"{domain}/{split}/{row['idx']}": row
    for domain in DOMAINS
    for split in ("train", "test")
    for row in map(json.loads, (FOLDER / domain / f"{split}.json").read_text("utf-8").splitlines())
}

N_A, GAS, FARADAY, ZERO_CELSIUS = 6.022e23, 8.314, 96485, 273.15


def root(grows: Callable[[float], float], low: float, high: float) -> float:
    """Return where a growing function crosses zero."""
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if grows(middle) < 0 else (low, middle)
    return low


def atoms(formula: str) -> Counter[str]:
    """Count the atoms of a formula such as Al2(SO4)3·18H2O."""
    total: Counter[str] = Counter()
    for times, part in re.findall(r"(?:^|·)(\d*)([^·]+)", formula):
        flat = re.sub(r"\((\w+)\)(\d+)", lambda group: group[1] * int(group[2]), part)
        for element, count in re.findall(r"([A-Z][a-z]?)(\d*)", flat):
            total[element] += int(count or 1) * int(times or 1)
    return total


def weighed(formula: str, given: str) -> float:
    masses = {element: float(mass) for element, mass in re.findall(r"(\w+) ([\d.]+)", given)}
    return sum(count * masses[element] for element, count in atoms(formula).items())


def reacted(one: float, a: str, other: float, b: str, equation: str, wanted: str, given: str) -> float:
    """Return the mass of a product of two reactants, after seeing that the equation balances."""
    left, right = (
        {name: int(count or 1) for count, name in re.findall(r"(\d*) ?([A-Z]\w*)", side)}
        for side in equation.split("->")
    )
    assert contents(left) == contents(right), equation
    masses = {name: float(mass) for name, mass in re.findall(r"(\w+) ([\d.]+)", given)}
    return min(one / masses[a] / left[a], other / masses[b] / left[b]) * right[wanted] * masses[wanted]


def contents(side: Mapping[str, int]) -> Counter[str]:
    total: Counter[str] = Counter()
    for name, count in side.items():
        for element, each in atoms(name).items():
            total[element] += count * each
    return total


def shared_oxidation(formula: str) -> float:
    """Return what is left for each atom that is neither oxygen (-2) nor an alkali metal (+1)."""
    known = {"O": -2, "K": 1, "Na": 1}
    counts = atoms(formula)
    (unknown,) = counts.keys() - known.keys()
    return -sum(known[element] * counts[element] for element in counts.keys() & known.keys()) / counts[unknown]


def missing_pairs(formula: str) -> float:
    """Return rings and π bonds from the valences: each atom of valence v adds (v - 2)/2 to one."""
    valences = {"C": 4, "N": 3, "O": 2, "H": 1, "Cl": 1}
    return 1 + sum((valences[element] - 2) * count for element, count in atoms(formula).items()) / 2


def charge(peptide: str, ph: float, *constants: float) -> float:
    """Sum the charges by Henderson and Hasselbalch: D, E, H, K, R, the carboxyl end, the amino end."""
    counts, signs = (*map(peptide.count, "DEHKR"), 1, 1), (-1, -1, 1, 1, 1, -1, 1)
    shares = (1 / (1 + 10 ** (sign * (ph - pka))) for sign, pka in zip(signs, constants, strict=True))
    return round(sum(map(prod, zip(counts, signs, shares, strict=True))))


def cell(a: float, b: float, c: float, *angles: float) -> float:
    """Return the volume of a cell with any angles."""
    x, y, z = (cos(radians(angle)) for angle in angles)
    return a * b * c * sqrt(1 + 2 * x * y * z - x * x - y * y - z * z)


def half_cell(standard: float, molar: float) -> float:
    return standard + GAS * (25 + ZERO_CELSIUS) / (2 * FARADAY) * log(molar)


def rolled(body: str, metres: float, gravity: float) -> float:
    shares = {"solid sphere": 10 / 7, "solid cylinder": 4 / 3, "thin-walled hollow sphere": 6 / 5}
    return sqrt(shares[body] * gravity * metres)


def photon(nanometres: float, upper: float, lower: float, mass: float, h: float, c: float) -> float:
    """Return the wavelength in nm from the energies of two levels of a box."""
    high, low = ((h * n / (2 * nanometres * 1e-9)) ** 2 / (2 * mass) for n in (upper, lower))
    return h * c / (high - low) * 1e9


def through(volts: float, *parts: complex) -> float:
    return volts / abs(sum(parts))


NUMBER = r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
CALCULATED: tuple[tuple[str, Callable[..., float]], ...] = (
    # Each # stands for a number, which the formula gets, like every other group.
    # Biology
    (r"primer 5'-(\w+)-3'", lambda dna: 64.9 + 41 * (len(re.findall("[GC]", dna)) - 16.4) / len(dna)),
    (r"DNA of # base pairs has # % adenine", lambda n, a: n * (2 * 2 * a + 3 * (100 - 2 * a)) / 100),
    (
        r"Vmax = # µmol/min and Km = # µM.* over # µM .* of # µM .* Ki = # µM",
        lambda fastest, half, s, i, k: fastest / (1 + half / s * (1 + i / k)),
    ),
    (r"over # µM/s at # µM .* # µM/s at # µM", lambda v, s, w, t: (w - v) / (v / s - w / t)),
    (r"affects 1 in # newborns", lambda n: 1 - 1 / n - (1 - 1 / sqrt(n)) ** 2),
    (r"AB \(#\), ab \(#\), Ab \(#\) and aB \(#\)", lambda *each: 100 - 100 * (each[0] + each[1]) / sum(each)),
    (r"population of # animals .* r = # per .* capacity of #", lambda n, r, k: r * n - r * n * n / k),
    (r"herd, # males and # females", lambda m, f: 1 / (1 / (4 * m) + 1 / (4 * f))),
    (r"from # to # cells per mL in # minutes", lambda few, many, t: t / log2(many / few)),
    (r"peptide (\w+) at pH #, .* D #, E #, H #, K #, R #; ends: # and #", charge),
    # Chemistry
    (r"hydrate (\S+)\? \(atomic masses in g/mol: (.+)\)", weighed),
    (r"^# g of (\w+) and # g of (\w+) react .* by (.+)\. What mass of (\w+) .* in g/mol: (.+)\)", reacted),
    (
        r"pH of # mol/L \w+ acid in water\? \(pKa = #\)",
        lambda c, pka: root(lambda ph: 10**-pka * (c - 10**-ph) - 10 ** (-2 * ph), 0, 14),
    ),
    (
        r"holds # mmol .*\(pKa = #\) and # mmol .* after # mmol of NaOH",
        lambda acid, pka, base, more: root(lambda ph: 10 ** (ph - pka) * (acid - more) - base - more, 0, 14),
    ),
    (
        r"solubility of (?:PbI2|CaF2|Ag2CrO4|Ag2SO4) in pure water\? \(Ksp = #\)",
        lambda product: root(lambda s: s * (2 * s) ** 2 - product, 0, 1),
    ),
    (
        r"cell (\w+) \| \1.. \(# mol/L\) \|\| (\w+)2. \(# mol/L\) \| \3 .* \1 # V, \3 # V",
        lambda _, dissolving, __, deposited, low, high: half_cell(high, deposited) - half_cell(low, dissolving),
    ),
    (
        r"ΔH° = # kJ/mol and ΔS° = # J/.* at # °C",
        lambda h, s, t: exp(s / GAS) * exp(-1e3 * h / GAS / (t + ZERO_CELSIUS)),
    ),
    (
        r"factor of # between # °C and # °C",
        lambda q, t, u: GAS * log(q) * (t + ZERO_CELSIUS) * (u + ZERO_CELSIUS) / (u - t) / 1e3,
    ),
    (r"second-order .* k = # L.* from # mol/L to # mol/L", lambda k, c, d: (c - d) / (c * d * k)),
    (
        r"^# g of (\w+) \(molar mass # g/mol\) are dissolved in # g of water.*\(Kf = #",
        lambda g, salt, mass, water, k: -{"NaCl": 2, "CaCl2": 3, "K2SO4": 3}[salt] * g / mass * 1e3 / water * k,
    ),
    (
        r"# mol of \w+ in # L at # K .*a = # L.* b = # L/mol, R = # L",
        lambda n, v, t, a, b, r: root(lambda p: (p + a * n * n / v / v) * (v - n * b) - n * r * t, 0, 1e4),
    ),
    (r"of the formula (\w+) have", missing_pairs),
    (r"oxidation number of \w+ in (\w+)\?", shared_oxidation),
    # Materials
    (
        r"in the (.+) structure with a lattice parameter of # Å.*molar mass # g/mol",
        lambda name, a, mass: {"f": 4, "b": 2, "d": 8}[name[0]] * mass * 1.66054 / a**3,
    ),
    (r"a = # Å\nb = # Å\nc = # Å\nα = #°\nβ = #°\nγ = #°", cell),
    (
        r"\(# # #\) reflection of .* a = # Å\) appear with radiation of # Å",
        lambda h, k, m, a, x: degrees(acos(1 - x * x * (h * h + k * k + m * m) / (2 * a * a))),
    ),
    (r"factor of the perovskite .* # Å, .* # Å, O2- # Å", lambda a, b, o: sin(pi / 4) * (a + o) / (b + o)),
    (
        r"D0 = # m²/s and an activation energy of # kJ/mol.* at # °C",
        lambda d, q, t: 10 ** (log10(d) - 1e3 * q / (GAS * (t + ZERO_CELSIUS) * log(10))),
    ),
    (
        r"is # MPa at a grain size of # µm and # MPa at # µm.* at # µm",
        lambda s, d, t, e, f: s + (t - s) * (f**-0.5 - d**-0.5) / (e**-0.5 - d**-0.5),
    ),
    (
        r"toughness of # MPa .* stress of # MPa.*geometry factor #",
        lambda toughness, stress, y: (toughness / (y * stress)) ** 2 / pi * 1e3,
    ),
    (
        r"gap # eV\) grow between # K and # K\? \(k = # eV",
        lambda gap, t, u, k: sqrt((u / t) ** 3 * exp(gap / k * (1 / t - 1 / u))),
    ),
    (
        r"at # °C\? \(density # g/cm³, molar mass # g/mol, .* energy # eV, k = # eV",
        lambda t, density, mass, e, k: N_A * density / mass * exp(-e / k / (t + ZERO_CELSIUS)),
    ),
    (
        r"holds # vol% .* \(# GPa\) in .* \(# GPa\)",
        lambda share, f, m: f * m / (share / 100 * m + (1 - share / 100) * f),
    ),
    # Physics
    (
        r"capacitor of # µF, charged to # V, .* of # kΩ.* to # V\?",
        lambda c, start, r, end: -r * c / 1e3 * log(end / start),
    ),
    (r"\(γ = #\) at # °C .* to 1/# of", lambda g, t, x: (t + ZERO_CELSIUS) * exp((g - 1) * log(x))),
    (r"kinetic energy of # keV; its rest energy is # keV", lambda t, m: sqrt(t * t + 2 * t * m) / (t + m)),
    (r"wavelength # nm falls .* function is # eV.*\(hc = # eV", lambda x, work, hc: hc / x - work),
    (r"slits # mm apart .* is # nm.* screen # m .*\(n = #\)", lambda d, x, far, n: x / 1e3 * far / d / n),
    (r"^A (.+) starts from rest and rolls .* height of # m\? \(g = # m", rolled),
    (
        r"diameter of # mm and a length of # m carries # mL/s .* viscosity is # mPa s",
        lambda d, x, q, eta: 128 * eta / 1e3 * x * q / 1e6 / (pi * (d / 1e3) ** 4),
    ),
    (
        r"activity of # ng of .*molar mass # g/mol, half-life # h",
        lambda m, mass, t: m / 1e9 / mass * N_A * (1 - 0.5 ** (1 / (t * 3600))),
    ),
    (
        r"coil of # turns and # cm diameter rotates at # rev.* of # mT",
        lambda n, d, rpm, b: n * b / 1e3 * (d / 100) ** 2 * pi / 4 * rpm * pi / 30,
    ),
    (r"of # kHz.* approaches it at # m/s.* sound # m/s", lambda f, u, c: f * (1 + u / c) / (1 - u / c)),
    (
        r"height of # km .*\(radius of \w+ # km, GM = # m",
        lambda h, r, gm: 2 * pi * (r + h) * 1e3 / sqrt(gm / (r + h) / 1e3) / 3600,
    ),
    (r"receives # W/m² .* albedo of #\..*\(σ = # W", lambda s, a, sigma: sqrt(sqrt((1 - a) * s / 4 / sigma))),
    (r"walls, # nm long, falls from n = # to n = #\..*\(m = # kg, h = # J s, c = # m/s\)", photon),
    (
        r"resistor of # Ω, a coil of # mH and a capacitor of # µF .* of # V \(rms\) at # Hz",
        lambda r, x, c, v, f: through(v, r, 2j * pi * f * x / 1e3, 1e6 / (2j * pi * f * c)),
    ),
)


CODONS = dict(
    zip(
        map("".join, product("UCAG", repeat=3)),
        "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        strict=True,
    )
)
DIMENSIONS = {  # powers of kg, m and s
    "surface tension": (1, 0, -2),
    "density": (1, -3, 0),
    "wavelength": (0, 1, 0),
    "radius": (0, 1, 0),
    "mass": (1, 0, 0),
    "speed of light": (0, 1, -1),
    "gravitational constant": (-1, 3, -2),
    "reduced Planck constant": (1, 2, -1),
    "length": (0, 1, 0),
    "time": (0, 0, 1),
    "speed": (0, 1, -1),
}


def protein(gene: str) -> str:
    """Translate from the first base; the stop codon is a star, and what follows it is left out."""
    text = "".join(CODONS[codon] for codon in re.findall("...", gene.replace("T", "U")))
    return re.sub(r"\*.*", "*", text)


def is_translation(question: str, option: str, _: list[str]) -> bool:
    (message,) = re.findall("5'-([ACGU]+)-3'", question)
    return protein(message[message.index("AUG") :]) == f"{option}*"


def is_opposite(question: str, option: str, _: list[str]) -> bool:
    (strand,) = re.findall("5'-([ACGT]+)-3'", question)
    pairs = {left + right for left, right in zip(strand, reversed(option[3:-3]), strict=True)}
    return option.startswith("5'-") and pairs <= {"AT", "TA", "GC", "CG"}


def is_sibling_risk(question: str, option: str, _: list[str]) -> bool:
    """Count over the genotypes of a healthy child of two carriers."""
    (carriers,) = re.findall(r"1 in (\d+) people", question)
    healthy = [alleles for alleles in product("Aa", repeat=2) if alleles != ("a", "a")]
    passes_on = sum(Fraction(alleles.count("a"), 2) for alleles in healthy) / len(healthy)
    return Fraction(*map(int, option.split(" in "))) == passes_on * Fraction(1, int(carriers)) / 2


def is_stabler(_: str, option: str, options: list[str]) -> bool:
    bonds = sorted(sum(3 if base in "GC" else 2 for base in each) for each in options)
    return sum(3 if base in "GC" else 2 for base in option) == bonds[-1] > bonds[0] + 2


def is_silent(question: str, option: str, _: list[str]) -> bool:
    (gene,) = re.findall("5'-([ACGT]+)-3'", question)
    assert sum(old != new for old, new in zip(gene, option, strict=True)) == 1
    return protein(option) == protein(gene)


def molecule(smiles: str) -> Counter[str]:
    """Count the atoms of a SMILES string of C, N and O, hydrogen included."""
    free: list[int] = []
    elements = re.findall("[CNO]", smiles)
    rings: dict[str, int] = {}
    branches: list[int] = []
    last, order = -1, 1
    for token in smiles:
        if token in "CNO":
            free.append({"C": 4, "N": 3, "O": 2}[token])
            bonded, last = last, len(free) - 1
        elif token.isdigit():
            bonded = rings.pop(token, -1)
            if bonded < 0:
                rings[token] = last
        else:
            order = 2 if token == "=" else order
            last = branches.pop() if token == ")" else last
            branches += [last] * (token == "(")
            continue
        if bonded >= 0:
            free[bonded], free[last] = free[bonded] - order, free[last] - order
        order = 1
    assert not rings
    assert min(free) >= 0
    return Counter(elements) + Counter(H=sum(free))


def is_formula(question: str, option: str, _: list[str]) -> bool:
    (smiles,) = re.findall("'(.+)'", question)
    return atoms(option) == molecule(smiles)


def is_ester(question: str, option: str, _: list[str]) -> bool:
    """Water splits an ester after its acyl group, and the atoms of all four molecules balance."""
    acid, alcohol = re.findall("acid (.+) is heated .* alcohol (.+) and", question)[0]
    left, ester, right = option.partition("C(=O)O")
    balance = molecule(option) + Counter(H=2, O=1) == molecule(acid) + molecule(alcohol)
    return bool(ester) and balance and (f"{left}C(=O)O", f"O{right}") == (acid, alcohol)


def has_dimension(question: str, option: str, _: list[str]) -> bool:
    asked, listed = re.findall(r"predicts a (\w+) from three quantities alone: (.+)\. Which", question)[0]
    names = {name[-1]: DIMENSIONS[name[4:-2]] for name in listed.split(", ")}
    powers = [(names[symbol], Fraction(power)) for symbol, power in re.findall(r"(\w)\^\(([-\d/]+)\)", option)]
    return tuple(sum(unit[axis] * power for unit, power in powers) for axis in range(3)) == DIMENSIONS[asked]


def is_nearest_to_ideal(question: str, option: str, options: list[str]) -> bool:
    radii = {ion: float(radius) for ion, radius in re.findall(r"(\w+)\d[+-]: ([\d.]+) Å", question)}

    def distance(oxide: str) -> float:
        large, small = re.findall("[A-Z][a-z]", oxide)
        return abs((radii[large] + radii["O"]) / (radii[small] + radii["O"]) / sqrt(2) - 1)

    return sum(distance(each) < distance(option) + 0.02 for each in options) == 1


def is_fastest(question: str, option: str, _: list[str]) -> bool:
    (kelvin,) = re.findall(r"at (\d+) K", question)
    data = re.findall(rf"(Solute \w): D0 = {NUMBER} m²/s, Q = {NUMBER} kJ/mol", question)
    speed = {
        name: log(float(prefactor)) - float(barrier) * 1e3 / GAS / float(kelvin) for name, prefactor, barrier in data
    }
    return sum(each > speed[option] - 0.1 for each in speed.values()) == 1


def keeps_the_mass(question: str, option: str, _: list[str]) -> bool:
    alloy, liquid, solid = map(int, re.findall(r"(\d+) wt% B", question))
    fluid, crystals = map(float, re.findall(r"\d\.\d\d", option))
    whole = isclose(fluid + crystals, 1)
    return whole and isclose(fluid * liquid + crystals * solid, alloy, abs_tol=0.005 * (solid - liquid) + 1e-9)


def is_system(question: str, option: str, _: list[str]) -> bool:
    asked: str = re.findall(r"is (\w+)\?", question)[0]
    *edges, alpha, beta, gamma = map(float, re.findall(NUMBER, option))
    right, different = (alpha, beta, gamma).count(90), len(set(edges))
    systems = {(3, 1): "cubic", (3, 2): "tetragonal", (3, 3): "orthorhombic", (2, 2): "hexagonal", (2, 3): "monoclinic"}
    assert right == 3 or (gamma == 120 if different == 2 else beta > 90)
    return systems[right, different] == asked


def reflects(structure: str, hkl: tuple[int, ...]) -> bool:
    """Whether the structure factor of these indices is not zero."""
    odd = {index % 2 for index in hkl}
    rules = {
        "simple cubic": True,
        "body-centred cubic": sum(hkl) % 2 == 0,
        "face-centred cubic": len(odd) == 1,
        "diamond cubic": odd == {1} or (odd == {0} and sum(hkl) % 4 == 0),
    }
    return any(hkl) and rules[structure]


def shows_reflections(question: str, option: str, _: list[str]) -> bool:
    angles = [radians(float(angle)) for angle in re.findall(r"([\d.]+)°", question)]
    sums = sorted({sum(index * index for index in hkl) for hkl in product(range(7), repeat=3) if reflects(option, hkl)})
    ratios = [(1 - cos(angle)) / (1 - cos(angles[0])) for angle in angles]
    return all(isclose(ratio, n / sums[0], rel_tol=0.01) for ratio, n in zip(ratios, sums, strict=False))


REASONED: tuple[tuple[str, Callable[[str, str, list[str]], bool]], ...] = (
    ("ribosome", is_translation),
    ("strand of a double-stranded", is_opposite),
    ("healthy woman", is_sibling_risk),
    ("duplex melts", is_stabler),
    ("still makes the same protein", is_silent),
    ("molecular formula of the molecule", is_formula),
    ("SMILES notation represents the organic product", is_ester),
    ("has the dimension", has_dimension),
    ("closest to the ideal cubic", is_nearest_to_ideal),
    ("diffuses fastest", is_fastest),
    ("mass fractions of the two phases", keeps_the_mass),
    ("conventional unit cells", is_system),
    ("powder pattern", shows_reflections),
)
RULES = [pattern for pattern, _ in (*CALCULATED, *REASONED)]


def question_of(row: Row) -> str:
    text: str = row["prompt"].rpartition("\n\nA: ")[0]
    return text


def rule_of(row: Row) -> str:
    """Return the one rule that knows the question."""
    (rule,) = (rule for rule in RULES if re.search(rule.replace("#", NUMBER), question_of(row), re.DOTALL))
    return rule


def calculate(row: Row) -> float | None:
    """Return the answer that the numbers in the question give, or None if it is not a number."""
    formulas = dict(CALCULATED)
    rule = rule_of(row)
    if rule not in formulas:
        return None
    match = re.search(rule.replace("#", NUMBER), question_of(row), re.DOTALL)
    assert match is not None
    return formulas[rule](*(float(each) if re.fullmatch(NUMBER, each) else each for each in match.groups()))


def value_of(option: str) -> float:
    return float(re.findall(NUMBER, option)[0])


@pytest.mark.parametrize("task_id", ROWS)
def test_the_right_option_and_no_other_follows_from_the_question(task_id: str) -> None:
    row = ROWS[task_id]
    options = parse_options(row["prompt"])
    expected = calculate(row)
    if expected is not None:
        rounded = [letter for letter, text in options.items() if isclose(value_of(text), expected, rel_tol=0.0051)]
        near = [letter for letter, text in options.items() if isclose(value_of(text), expected, rel_tol=0.02)]
        assert rounded == near == [row["answer"]], expected
    else:
        holds = dict(REASONED)[rule_of(row)]
        texts = list(options.values())
        assert [each for each, text in options.items() if holds(question_of(row), text, texts)] == [row["answer"]]


@pytest.mark.parametrize("task_id", ROWS)
def test_the_worked_solution_ends_with_the_right_option(task_id: str) -> None:
    row = ROWS[task_id]
    worked = row["worked"].removesuffix(
        f" The answer is {row['answer']}: {parse_options(row['prompt'])[row['answer']]}"
    )
    assert worked != row["worked"]
    assert 1 <= len(re.findall(r"\.(?= [A-Z]|$)", worked)) <= 4
    expected = calculate(row)
    if expected is not None:
        assert any(isclose(float(each), expected, rel_tol=0.0051) for each in re.findall(NUMBER, worked))


def test_every_rule_serves_two_questions_and_every_domain_has_fifteen() -> None:
    used = Counter(rule_of(row) for row in ROWS.values())
    assert used == dict.fromkeys(RULES, 2)
    for domain in DOMAINS:
        assert len({rule_of(row) for task_id, row in ROWS.items() if task_id.startswith(domain)}) == 15


def test_every_domain_has_twenty_questions_to_train_on_and_ten_to_test() -> None:
    for domain in DOMAINS:
        train, test = (
            [row["idx"] for task_id, row in ROWS.items() if task_id.startswith(f"{domain}/{split}/")]
            for split in ("train", "test")
        )
        assert (len(train), len(test)) == (20, 10)
        assert sorted(train + test) == list(range(30))


def test_no_two_prompts_and_no_two_options_of_a_prompt_are_equal() -> None:
    assert len({row["prompt"] for row in ROWS.values()}) == len(ROWS) == 120
    for row in ROWS.values():
        options = parse_options(row["prompt"])
        assert all(options.values())
        assert len(set(options.values())) == len(options)


def test_letters_are_in_balance_in_every_file() -> None:
    for count, tasks_of in ((2, "AB"), (4, "ABCD")):
        for place in sorted({task_id.rpartition("/")[0] for task_id in ROWS}):
            rows = [row for task_id, row in ROWS.items() if task_id.startswith(place)]
            letters = Counter(row["answer"] for row in rows if len(parse_options(row["prompt"])) == count)
            assert set(letters) <= set(tasks_of)
            assert not letters or max(letters.values()) - min(letters[letter] for letter in tasks_of) <= 1, place


def test_some_questions_have_two_options_and_some_options_span_lines() -> None:
    options = {task_id: parse_options(row["prompt"]) for task_id, row in ROWS.items()}
    assert {task_id[:7] for task_id, each in options.items() if len(each) == 2} == {"biology"}
    assert sum(len(each) == 2 for each in options.values()) == 4
    assert sum(any("\n" in text for text in each.values()) for each in options.values()) == 4


def test_rows_have_the_form_of_the_released_ones() -> None:
    columns = ["idx", "kind", "dataset", "answer", "elo", "prompt", "description", "tests", "embedding", "system"]
    for row in ROWS.values():
        assert list(row) == [*columns, "worked"]
        assert row["system"] == SYSTEM
        assert row["prompt"].endswith("\nPlease reason step by step.")
        assert row["description"] == f"{question_of(row)} The solution will be evaluated in a mcq environment."


@pytest.mark.skipif(not RELEASED.is_file(), reason="skips the comparison with SDPO's released rows: not beside this")
def test_released_rows_have_the_same_columns_types_and_constants() -> None:
    released = json.loads(RELEASED.read_text("utf-8").partition("\n")[0])
    for row in ROWS.values():
        ours = {column: value for column, value in row.items() if column != "worked"}
        assert [(column, type(value)) for column, value in ours.items()] == [
            (column, type(value)) for column, value in released.items()
        ]
        for constant in ("kind", "dataset", "elo", "tests", "embedding", "system"):
            assert row[constant] == released[constant]


def test_no_text_shows_the_noise_of_floating_point() -> None:
    for row in ROWS.values():
        assert not re.search(r"\d\.\d{7,}|\bnan\b|\binf\b", row["prompt"] + row["worked"])


def test_building_again_writes_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "build.py"), str(tmp_path)]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"})
    for domain, split in product(DOMAINS, ("train", "test")):
        place = Path(domain, f"{split}.json")
        assert (tmp_path / place).read_bytes() == (FOLDER / place).read_bytes()


def test_the_folder_says_where_it_comes_from_and_under_which_licence() -> None:
    assert "python tasks/sciknoweval/build.py" in (FOLDER / "SOURCE").read_text("utf-8")
    assert "Apache" in (FOLDER / "LICENSE").read_text("utf-8")
