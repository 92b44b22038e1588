"""Materials science: crystals, diffraction, perovskites, diffusion, phases, semiconductors and mechanics."""

from itertools import product
from math import asin, cos, degrees, exp, pi, radians, sin, sqrt
from random import Random

from templates.question import Question, Template, calculated, figures

_RADII = {"Ca": 1.34, "Sr": 1.44, "Ba": 1.61, "Ti": 0.605, "Zr": 0.72, "Sn": 0.69, "Hf": 0.71}
_OXIDES = tuple(product(("Ca", "Sr", "Ba"), ("Ti", "Zr", "Sn", "Hf")))


def crystal_density(rng: Random) -> Question:
    """Density of a cubic crystal."""
    name, mass, edge, structure, atoms, drawn = rng.choice(
        [
            ("copper", 63.55, 3.615, "face-centred cubic", 4, 14),
            ("tungsten", 183.84, 3.165, "body-centred cubic", 2, 9),
            ("silicon", 28.09, 5.431, "diamond", 8, 18),
            ("germanium", 72.63, 5.658, "diamond", 8, 18),
        ]
    )
    grams, volume = atoms * mass / 6.022e23, (edge * 1e-8) ** 3
    return calculated(
        f"The element {name} crystallises in the {structure} structure with a lattice parameter of {edge} Å. What is "
        f"its density? (molar mass {mass} g/mol, N_A = 6.022e23 /mol)",
        "g/cm³",
        grams / volume,
        (grams / volume / atoms, grams / volume * drawn / atoms, grams / volume * 6 / pi),
        f"A {structure} cell holds {atoms} atoms of {mass} g/mol / 6.022e23 /mol each, {figures(grams)} g together. "
        f"Its volume is ({edge}e-8 cm)³ = {figures(volume)} cm³, so the density is {figures(grams / volume)} g/cm³.",
    )


def cell_volume(rng: Random) -> Question:
    """Volume of a monoclinic unit cell."""
    a, b, c = (rng.randrange(500, 1800) / 100 for _ in range(3))
    beta = rng.randrange(11000, 13000, 25) / 100
    box, sine = a * b * c, sin(radians(beta))
    return calculated(
        f"Calculate the volume of the unit cell that has these lattice parameters.\n\na = {a} Å\nb = {b} Å\nc = {c} Å\n"
        f"α = 90°\nβ = {beta}°\nγ = 90°",
        "Å³",
        box * sine,
        (box, -box * cos(radians(beta)), box * sine**2),
        f"Only β differs from 90°, so the cell is monoclinic and its volume is abc sin β. With abc = {figures(box)} Å³ "
        f"and sin {beta}° = {figures(sine)}, this is {figures(box * sine)} Å³.",
    )


def bragg_angle(rng: Random) -> Question:
    """Diffraction angle of a reflection of a cubic crystal."""
    metal, edge = rng.choice([("aluminium", 4.05), ("nickel", 3.524), ("gold", 4.078)])
    h, k, l = rng.choice([(1, 1, 1), (2, 2, 0), (3, 1, 1), (2, 0, 0)])  # noqa: E741
    spacing = edge / sqrt(h * h + k * k + l * l)
    theta = degrees(asin(1.5406 / (2 * spacing)))
    return calculated(
        f"At what diffraction angle 2θ does the ({h} {k} {l}) reflection of {metal} (cubic, a = {edge} Å) appear with "
        "radiation of 1.5406 Å?",
        "degrees",
        2 * theta,
        (theta, 4 * theta, 2 * degrees(asin(1.5406 / (2 * edge)))),
        f"The planes are a/sqrt(h²+k²+l²) = {edge} Å / sqrt({h * h + k * k + l * l}) = {figures(spacing)} Å apart. "
        f"Bragg's law gives sin θ = 1.5406 / (2 × {figures(spacing)}) = {figures(1.5406 / (2 * spacing))}. So θ is "
        f"{figures(theta)}° and 2θ is {figures(2 * theta)}°.",
    )


def tolerance_factor(rng: Random) -> Question:
    """Goldschmidt's tolerance factor of an oxide."""
    large, small = rng.choice(_OXIDES)
    factor = _tolerance(large, small)
    return calculated(
        f"What is Goldschmidt's tolerance factor of the perovskite {large}{small}O3? (ionic radii {large}2+ "
        f"{_RADII[large]} Å, {small}4+ {_RADII[small]} Å, O2- 1.4 Å)",
        "",
        factor,
        (factor * sqrt(2), 1 / factor, _RADII[large] / (sqrt(2) * _RADII[small])),
        f"The tolerance factor is (r_A + r_O) / (sqrt(2) (r_B + r_O)). Here it is ({_RADII[large]} + 1.4) / (1.414 × "
        f"({_RADII[small]} + 1.4)) = {figures(factor)}.",
    )


def ideal_perovskite(rng: Random) -> Question:
    """The oxide with the least tilted octahedra."""
    near = [oxide for oxide in _OXIDES if abs(_tolerance(*oxide) - 1) < 0.01]
    far = [oxide for oxide in _OXIDES if abs(_tolerance(*oxide) - 1) > 0.03]
    oxides = [rng.choice(near), *rng.sample(far, 3)]
    names = [f"{large}{small}O3" for large, small in oxides]
    ions = sorted({f"{ion}2+" for ion, _ in oxides} | {f"{ion}4+" for _, ion in oxides})
    given = "\n".join(f"{ion}: {_RADII[ion[:2]]} Å" for ion in ions)
    factors = ", ".join(
        f"{name} {figures(_tolerance(*oxide))}" for name, oxide in sorted(zip(names, oxides, strict=True))
    )
    return Question(
        "Judged by Goldschmidt's tolerance factor, which of these perovskites comes closest to the ideal cubic "
        f"structure?\n\nIonic radii:\n\n{given}\nO2-: 1.4 Å",
        names[0],
        tuple(names[1:]),
        f"The tolerance factor (r_A + r_O) / (sqrt(2) (r_B + r_O)) is 1 in the ideal structure. Here it is {factors}. "
        f"The closest to 1 is that of {names[0]}.",
    )


def _tolerance(large: str, small: str) -> float:
    return (_RADII[large] + 1.4) / (sqrt(2) * (_RADII[small] + 1.4))


def diffusion_coefficient(rng: Random) -> Question:
    """Diffusion coefficient at a temperature."""
    prefactor, kilojoules = rng.randrange(12, 90) / 10, rng.randrange(110, 190)
    celsius = rng.randrange(500, 900, 25)
    kelvin = celsius + 273.15
    coefficient = prefactor * 1e-5 * exp(-kilojoules * 1e3 / (8.314 * kelvin))
    return calculated(
        f"A solute diffuses in a metal with D0 = {prefactor}e-5 m²/s and an activation energy of {kilojoules} kJ/mol. "
        f"What is its diffusion coefficient at {celsius} °C? (R = 8.314 J/(mol K))",
        "m²/s",
        coefficient,
        (
            prefactor * 1e-5 * exp(-kilojoules * 1e3 / (8.314 * celsius)),
            prefactor * 1e-5 * 10 ** (-kilojoules * 1e3 / (8.314 * kelvin)),
            prefactor * 1e-5 * exp(-kilojoules * 1e3 / (2 * 8.314 * kelvin)),
        ),
        f"D = D0 exp(-Q/RT) with T = {kelvin} K. The exponent is -{kilojoules}e3 / (8.314 × {kelvin}) = "
        f"{figures(-kilojoules * 1e3 / (8.314 * kelvin))}, so D = {prefactor}e-5 m²/s × "
        f"{figures(coefficient / prefactor * 1e5)} = {figures(coefficient)} m²/s.",
    )


def fastest_solute(rng: Random) -> Question:
    """The solute that diffuses fastest, where neither the prefactor nor the barrier decides alone."""
    kelvin, lowest = rng.choice([800, 850, 900]), rng.randrange(150, 220, 5)
    powers, barriers = rng.sample([4, 4, 5, 6], 4), rng.sample([lowest + 20 * step for step in range(4)], 4)
    solutes = list(zip("WXYZ", powers, barriers, strict=True))
    given = "\n".join(f"Solute {name}: D0 = 1e-{power} m²/s, Q = {barrier} kJ/mol" for name, power, barrier in solutes)
    speeds = {name: 10**-power * exp(-barrier * 1e3 / (8.314 * kelvin)) for name, power, barrier in solutes}
    right, *wrong = sorted(speeds, key=lambda name: -speeds[name])
    return Question(
        f"Four solutes diffuse in the same host metal. Which of them diffuses fastest at {kelvin} K? (R = 8.314 J/(mol "
        f"K))\n\n{given}",
        f"Solute {right}",
        tuple(f"Solute {name}" for name in wrong),
        "D = D0 exp(-Q/RT), so prefactor and activation energy both count. At this temperature the coefficients in "
        f"m²/s are {', '.join(f'{name} {figures(speeds[name])}' for name in 'WXYZ')}. That of solute {right} is the "
        "largest.",
    )


def lever_rule(rng: Random) -> Question:
    """Phase fractions in a two-phase field; the options span two lines."""
    liquid, solid = rng.randrange(12, 24), rng.randrange(65, 85)
    alloy = liquid + rng.randrange(6, 18)
    fraction = (alloy - liquid) / (solid - liquid)
    options = [
        f"liquid {1 - share:.2f}\nsolid {share:.2f}"
        for share in (fraction, 1 - fraction, alloy / solid, (alloy - liquid) / solid)
    ]
    return Question(
        f"An alloy with {alloy} wt% B is held at a temperature at which a liquid with {liquid} wt% B is in equilibrium "
        f"with a solid with {solid} wt% B. What are the mass fractions of the two phases?",
        options[0],
        tuple(options[1:]),
        f"By the lever rule the solid's fraction is ({alloy} - {liquid}) / ({solid} - {liquid}) = {fraction:.2f}. The "
        f"liquid is the rest, {1 - fraction:.2f}.",
    )


def grain_strength(rng: Random) -> Question:
    """Yield strength at a third grain size, by the relation of Hall and Petch."""
    coarse, fine, finest = rng.choice([100, 120, 150]), rng.choice([20, 25, 30]), rng.choice([4, 5, 6])
    soft, hard = rng.randrange(110, 180, 5), rng.randrange(200, 290, 5)
    slope = (hard - soft) / (1 / sqrt(fine) - 1 / sqrt(coarse))
    strength = hard + slope * (1 / sqrt(finest) - 1 / sqrt(fine))
    return calculated(
        f"The yield strength of a steel is {soft} MPa at a grain size of {coarse} µm and {hard} MPa at {fine} µm. What "
        f"does the relation of Hall and Petch predict at {finest} µm?",
        "MPa",
        strength,
        (
            hard + (hard - soft) * (1 / finest - 1 / fine) / (1 / fine - 1 / coarse),
            hard + (hard - soft) * (fine - finest) / (coarse - fine),
            hard * sqrt(fine / finest),
        ),
        f"The strength is linear in d^(-1/2), with the slope ({hard} - {soft}) / ({fine}^(-1/2) - {coarse}^(-1/2)) = "
        f"{figures(slope)} MPa µm^(1/2). At {finest} µm it is {hard} MPa + {figures(slope)} × ({finest}^(-1/2) - "
        f"{fine}^(-1/2)) MPa = {figures(strength)} MPa.",
    )


def critical_crack(rng: Random) -> Question:
    """Length at which a surface crack becomes unstable."""
    toughness, stress = rng.randrange(20, 70), rng.randrange(150, 450, 10)
    root = toughness / (1.12 * stress)
    millimetres = root**2 / pi * 1e3
    return calculated(
        f"A plate with a fracture toughness of {toughness} MPa m^(1/2) carries a tensile stress of {stress} MPa. At "
        "what depth does a crack at its edge become unstable? (geometry factor 1.12)",
        "mm",
        millimetres,
        (millimetres * 1.12**2, millimetres * pi, millimetres / 2),
        f"The crack grows when 1.12 σ sqrt(πa) reaches the toughness. So sqrt(πa) = {toughness} / (1.12 × {stress}) "
        f"m^(1/2) = {figures(root)} m^(1/2), and a = {figures(root)}² / π m = {figures(millimetres)} mm.",
    )


def carrier_ratio(rng: Random) -> Question:
    """Growth of the intrinsic carrier density with temperature."""
    name, gap = rng.choice([("silicon", 1.12), ("germanium", 0.66), ("gallium arsenide", 1.42)])
    cold, hot = 300, rng.randrange(340, 460, 10)
    exponent = gap / (2 * 8.617e-5) * (1 / cold - 1 / hot)
    ratio = (hot / cold) ** 1.5 * exp(exponent)
    return calculated(
        f"By what factor does the intrinsic carrier density of {name} (band gap {gap} eV) grow between {cold} K and "
        f"{hot} K? (k = 8.617e-5 eV/K; take the gap and the effective masses as constant)",
        "",
        ratio,
        ((hot / cold) ** 1.5 * exp(2 * exponent), exp(exponent), 1 / ratio),
        f"The density goes as T^(3/2) exp(-E/2kT). The first factor is ({hot}/{cold})^1.5 = "
        f"{figures((hot / cold) ** 1.5)}, the second exp({figures(exponent)}) = {figures(exp(exponent))}, and their "
        f"product {figures(ratio)}.",
    )


def vacancy_density(rng: Random) -> Question:
    """Equilibrium density of vacancies in a metal."""
    name, density, mass, energy = rng.choice(
        [("copper", 8.96, 63.55, 0.90), ("aluminium", 2.70, 26.98, 0.68), ("gold", 19.3, 196.97, 0.98)]
    )
    celsius = rng.randrange(350, 600, 25)
    sites, kelvin = density / mass * 6.022e23, celsius + 273.15
    vacancies = sites * exp(-energy / (8.617e-5 * kelvin))
    return calculated(
        f"How many vacancies per cm³ does {name} hold in equilibrium at {celsius} °C? (density {density} g/cm³, molar "
        f"mass {mass} g/mol, vacancy formation energy {energy} eV, k = 8.617e-5 eV/K, N_A = 6.022e23 /mol)",
        "per cm³",
        vacancies,
        (
            sites * exp(-energy / (8.617e-5 * celsius)),
            sites * 10 ** (-energy / (8.617e-5 * kelvin)),
            sites * exp(-energy / (2 * 8.617e-5 * kelvin)),
        ),
        f"There are {density} / {mass} × 6.022e23 = {figures(sites)} sites per cm³. At {kelvin} K a share of "
        f"exp(-{energy} / (8.617e-5 × {kelvin})) = {figures(vacancies / sites)} of them is vacant, "
        f"{figures(vacancies)} per cm³.",
    )


def transverse_modulus(rng: Random) -> Question:
    """Modulus of a fibre composite across its fibres."""
    fibre, stiff, matrix, soft = rng.choice(
        [("glass", 72, "epoxy", 3.4), ("aramid", 130, "polyester", 3.1), ("silicon carbide", 400, "aluminium", 70)]
    )
    percent = rng.randrange(30, 70, 5)
    modulus = 1 / (percent / 100 / stiff + (1 - percent / 100) / soft)
    return calculated(
        f"A composite holds {percent} vol% of parallel {fibre} fibres ({stiff} GPa) in {matrix} ({soft} GPa). What "
        "modulus perpendicular to the fibres does the rule of mixtures for equal stress give?",
        "GPa",
        modulus,
        (
            percent / 100 * stiff + (1 - percent / 100) * soft,
            1 / ((1 - percent / 100) / stiff + percent / 100 / soft),
            (stiff + soft) / 2,
        ),
        f"Under equal stress the compliances add, 1/E = {percent / 100}/{stiff} + {1 - percent / 100:.2f}/{soft} = "
        f"{figures(1 / modulus)} per GPa. So E = {figures(modulus)} GPa.",
    )


def crystal_system(rng: Random) -> Question:
    """The cell that has the metric of a crystal system; the options span two lines."""
    a, b, c = (edge / 100 for edge in rng.sample(range(300, 1200, 25), 3))
    beta = rng.randrange(95, 119)
    cells = {
        "cubic": ((a, a, a), (90, 90, 90)),
        "tetragonal": ((a, a, c), (90, 90, 90)),
        "orthorhombic": ((a, b, c), (90, 90, 90)),
        "hexagonal": ((a, a, c), (90, 90, 120)),
        "monoclinic": ((a, b, c), (90, beta, 90)),
    }
    systems = rng.sample(list(cells), 4)
    options = [
        "a = {} Å, b = {} Å, c = {} Å\nα = {}°, β = {}°, γ = {}°".format(*cells[each][0], *cells[each][1])
        for each in systems
    ]
    rules = {
        "cubic": "three equal edges and three right angles",
        "tetragonal": "two equal edges, a third of another length, and three right angles",
        "orthorhombic": "three different edges and three right angles",
        "hexagonal": "two equal edges at 120° and a third at right angles to both",
        "monoclinic": "three different edges and one angle that is not right",
    }
    return Question(
        f"Four crystals have these conventional unit cells. Which of them is {systems[0]}?",
        options[0],
        tuple(options[1:]),
        f"The conventional cell of a {systems[0]} crystal has {rules[systems[0]]}. Only one of the four cells is like "
        "this.",
    )


_REFLECTIONS = {
    "simple cubic": (1, 2, 3, 4, 5, 6, 8),
    "body-centred cubic": (2, 4, 6, 8, 10, 12, 14),
    "face-centred cubic": (3, 4, 8, 11, 12, 16, 19),
    "diamond cubic": (3, 8, 11, 16, 19, 24, 27),
}


def powder_pattern(rng: Random) -> Question:
    """The cubic structure that a powder pattern shows."""
    structure, edge = rng.choice(list(_REFLECTIONS)), rng.randrange(350, 600) / 100
    angles = [2 * degrees(asin(0.7107 * sqrt(n) / (2 * edge))) for n in _REFLECTIONS[structure]]
    ratios = ":".join(str(n) for n in _REFLECTIONS[structure])
    return Question(
        "The powder pattern of an element, taken with radiation of 0.7107 Å, begins with reflections at 2θ = "
        f"{', '.join(f'{angle:.2f}°' for angle in angles)}. Which structure does it have?",
        structure,
        tuple(each for each in _REFLECTIONS if each != structure),
        f"The values of sin²θ go as h²+k²+l². Here their ratios are {ratios}, with a lattice parameter of {edge} Å. "
        f"These are the reflections that a {structure} structure allows.",
    )


TEMPLATES: tuple[Template, ...] = (
    crystal_density,
    cell_volume,
    bragg_angle,
    tolerance_factor,
    ideal_perovskite,
    diffusion_coefficient,
    fastest_solute,
    lever_rule,
    grain_strength,
    critical_crack,
    carrier_ratio,
    vacancy_density,
    transverse_modulus,
    crystal_system,
    powder_pattern,
)
