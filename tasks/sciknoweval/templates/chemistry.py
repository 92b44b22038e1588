"""Chemistry: amounts, equilibria, electrochemistry, kinetics, and the reading of formulas."""

from math import exp, log, log10, sqrt
from random import Random

from templates.question import Question, Template, calculated, figures

_GAS_CONSTANT = 8.314


def hydrate_mass(rng: Random) -> Question:
    """Molar mass of a hydrate whose formula has a bracket."""
    masses = {"H": 1.008, "O": 15.999, "S": 32.06, "N": 14.007, "Al": 26.982, "Cr": 51.996, "Fe": 55.845, "Co": 58.933}
    metal, atoms, centre, oxygens, groups, waters = rng.choice(
        [("Al", 2, "S", 4, 3, 18), ("Fe", 2, "S", 4, 3, 9), ("Cr", 1, "N", 3, 3, 9), ("Co", 1, "N", 3, 2, 6)]
    )
    formula = f"{metal}{atoms if atoms > 1 else ''}({centre}O{oxygens}){groups}·{waters}H2O"
    group, water = masses[centre] + oxygens * masses["O"], 2 * masses["H"] + masses["O"]
    salt = atoms * masses[metal] + groups * group
    given = ", ".join(f"{element} {masses[element]}" for element in (metal, centre, "O", "H"))
    return calculated(
        f"What is the molar mass of the hydrate {formula}? (atomic masses in g/mol: {given})",
        "g/mol",
        salt + waters * water,
        (salt, salt + water, atoms * masses[metal] + group + waters * water),
        f"The salt has {atoms} × {masses[metal]} + {groups} × {group:.3f} = {salt:.3f} g/mol. The water of "
        f"crystallisation adds {waters} × {water:.3f} = {waters * water:.3f} g/mol, which makes "
        f"{figures(salt + waters * water)} g/mol in all.",
    )


def limiting_reagent(rng: Random) -> Question:
    """Mass of product when one of two reactants runs out."""
    equation, first, second, product = rng.choice(_REACTIONS)
    grams = {first: rng.randrange(10, 60), second: rng.randrange(10, 90)}
    moles = {each: grams[each] / each[1] for each in grams}
    name, molar_mass, coefficient = product
    yields = {each: moles[each] / each[2] * coefficient * molar_mass for each in grams}
    limiting = min(grams, key=lambda each: yields[each])
    given = ", ".join(f"{each[0]} {each[1]}" for each in (first, second, product))
    return calculated(
        f"{grams[first]} g of {first[0]} and {grams[second]} g of {second[0]} react as far as they can by {equation}. "
        f"What mass of {name} forms? (molar masses in g/mol: {given})",
        "g",
        yields[limiting],
        (max(yields.values()), min(moles.values()) * molar_mass, sum(grams.values())),
        f"The amounts are {figures(moles[first])} mol of {first[0]} and {figures(moles[second])} mol of {second[0]}. "
        f"Divided by their coefficients, {limiting[0]} is the smaller one, so it runs out first. It gives "
        f"{figures(moles[limiting])} mol × {coefficient}/{limiting[2]} × {molar_mass} g/mol = "
        f"{figures(yields[limiting])} g.",
    )


_REACTIONS = (
    ("N2 + 3 H2 -> 2 NH3", ("N2", 28.01, 1), ("H2", 2.016, 3), ("NH3", 17.03, 2)),
    ("2 Al + 3 Cl2 -> 2 AlCl3", ("Al", 26.98, 2), ("Cl2", 70.90, 3), ("AlCl3", 133.33, 2)),
    ("4 NH3 + 5 O2 -> 4 NO + 6 H2O", ("NH3", 17.03, 4), ("O2", 32.00, 5), ("NO", 30.01, 4)),
    ("CS2 + 3 Cl2 -> CCl4 + S2Cl2", ("CS2", 76.13, 1), ("Cl2", 70.90, 3), ("CCl4", 153.81, 1)),
)


def weak_acid(rng: Random) -> Question:
    """Acidity of a weak acid, without the approximation that little dissociates."""
    acid, pka = rng.choice([("formic acid", 3.75), ("chloroacetic acid", 2.87), ("lactic acid", 3.86)])
    molar = rng.randrange(5, 95, 5) / 1000
    constant = 10**-pka
    protons = (sqrt(constant**2 + 4 * constant * molar) - constant) / 2
    return calculated(
        f"What is the pH of {molar} mol/L {acid} in water? (pKa = {pka})",
        "",
        -log10(protons),
        (-log10(molar), pka, 14 + log10(protons)),
        f"With Ka = 10^-{pka} = {figures(constant)}, the proton concentration x obeys x² + Ka x - Ka × {molar} = 0. "
        f"The positive root is {figures(protons)} mol/L, so pH = {figures(-log10(protons))}.",
    )


def buffered_base(rng: Random) -> Question:
    """Acidity of a buffer after a strong base was added."""
    acid, pka = rng.choice([("acetic acid", 4.76), ("benzoic acid", 4.20), ("formic acid", 3.75)])
    acid_mmol, base_mmol, added = rng.randrange(40, 90, 2), rng.randrange(40, 90, 2), rng.randrange(10, 30)
    ph = pka + log10((base_mmol + added) / (acid_mmol - added))
    return calculated(
        f"A buffer holds {acid_mmol} mmol of {acid} (pKa = {pka}) and {base_mmol} mmol of its sodium salt. What is its "
        f"pH after {added} mmol of NaOH have been added?",
        "",
        ph,
        (
            pka + log10((base_mmol - added) / (acid_mmol + added)),
            pka + log10(base_mmol / acid_mmol),
            2 * pka - ph,
        ),
        f"The hydroxide turns {added} mmol of the acid into its anion, which leaves {acid_mmol - added} mmol of acid "
        f"and {base_mmol + added} mmol of anion. By Henderson and Hasselbalch, pH = {pka} + "
        f"log({base_mmol + added}/{acid_mmol - added}) = {figures(ph)}.",
    )


def salt_solubility(rng: Random) -> Question:
    """Molar solubility of a salt with ions in the ratio 1 : 2."""
    salt, product = rng.choice([("PbI2", 9.8e-9), ("CaF2", 3.5e-11), ("Ag2CrO4", 1.1e-12), ("Ag2SO4", 1.2e-5)])
    solubility = (product / 4) ** (1 / 3)
    return calculated(
        f"What is the molar solubility of {salt} in pure water? (Ksp = {product})",
        "mol/L",
        solubility,
        (sqrt(product), product ** (1 / 3), (product / 2) ** (1 / 3)),
        f"One unit of {salt} gives three ions, two of them alike, so Ksp = s × (2s)² = 4s³. Hence s = "
        f"({product}/4)^(1/3) mol/L = {figures(solubility)} mol/L.",
    )


def cell_potential(rng: Random) -> Question:
    """Potential of a galvanic cell that is not in its standard state."""
    potentials = {"Zn": -0.762, "Fe": -0.447, "Ni": -0.257, "Pb": -0.126, "Cu": 0.342}
    anode, cathode = sorted(rng.sample(list(potentials), 2), key=lambda metal: potentials[metal])
    dilute, strong = rng.randrange(1, 9) / 1000, rng.randrange(5, 15) / 10
    anode_molar, cathode_molar = rng.sample([dilute, strong], 2)
    standard = potentials[cathode] - potentials[anode]
    correction = 0.05916 / 2 * log10(anode_molar / cathode_molar)
    return calculated(
        f"What is the potential of the cell {anode} | {anode}2+ ({anode_molar} mol/L) || {cathode}2+ ({cathode_molar} "
        f"mol/L) | {cathode} at 25 °C? (standard potentials {anode} {potentials[anode]} V, {cathode} "
        f"{potentials[cathode]} V)",
        "V",
        standard - correction,
        (standard + correction, standard - 2 * correction, standard),
        f"The standard potential of the cell is {potentials[cathode]} V - ({potentials[anode]} V) = "
        f"{figures(standard)} V, with two electrons. The Nernst term is 0.05916/2 × "
        f"log({anode_molar}/{cathode_molar}) V = {figures(correction)} V. Taken from the standard potential, it "
        f"leaves {figures(standard - correction)} V.",
    )


def equilibrium_constant(rng: Random) -> Question:
    """Equilibrium constant from enthalpy and entropy."""
    kilojoules, joules, celsius = -rng.randrange(30, 60), -rng.randrange(60, 130, 5), rng.randrange(30, 120, 5)
    kelvin = celsius + 273.15
    gibbs = kilojoules * 1e3 - kelvin * joules
    return calculated(
        f"A reaction has ΔH° = {kilojoules} kJ/mol and ΔS° = {joules} J/(mol K). What is its equilibrium constant at "
        f"{celsius} °C? (R = 8.314 J/(mol K))",
        "",
        exp(-gibbs / (_GAS_CONSTANT * kelvin)),
        (
            exp(gibbs / (_GAS_CONSTANT * kelvin)),
            10 ** (-gibbs / (_GAS_CONSTANT * kelvin)),
            exp(-(kilojoules * 1e3 + kelvin * joules) / (_GAS_CONSTANT * kelvin)),
        ),
        f"At {kelvin} K, ΔG° = {kilojoules} kJ/mol - {kelvin} K × ({joules} J/(mol K)) = {figures(gibbs / 1e3)} "
        f"kJ/mol. So K = exp(-ΔG°/RT) = exp({figures(-gibbs / (_GAS_CONSTANT * kelvin))}) = "
        f"{figures(exp(-gibbs / (_GAS_CONSTANT * kelvin)))}.",
    )


def activation_energy(rng: Random) -> Question:
    """Activation energy from rate constants at two temperatures."""
    cold, ratio = rng.randrange(15, 35), rng.randrange(25, 90) / 10
    hot = cold + rng.randrange(15, 35, 5)
    inverse = 1 / (cold + 273.15) - 1 / (hot + 273.15)
    kilojoules = _GAS_CONSTANT * log(ratio) / inverse / 1e3
    return calculated(
        f"A rate constant grows by a factor of {ratio} between {cold} °C and {hot} °C. What is the activation energy? "
        "(R = 8.314 J/(mol K))",
        "kJ/mol",
        kilojoules,
        (
            kilojoules / log(10),
            _GAS_CONSTANT * log(ratio) / (1 / cold - 1 / hot) / 1e3,
            kilojoules * 1.987 / _GAS_CONSTANT,
        ),
        f"By Arrhenius, ln(k2/k1) = Ea/R × (1/T1 - 1/T2), where 1/{cold + 273.15} - 1/{hot + 273.15} = {inverse:.3e} "
        f"/K. Hence Ea = 8.314 × ln({ratio}) / {inverse:.3e} J/mol = {figures(kilojoules)} kJ/mol.",
    )


def second_order_time(rng: Random) -> Question:
    """Time that a second-order reaction needs."""
    constant, start = rng.randrange(12, 90) / 1000, rng.randrange(30, 90, 5) / 100
    end = rng.randrange(5, 25) / 100
    seconds = (1 / end - 1 / start) / constant
    return calculated(
        f"A substance decays by a second-order rate law with k = {constant} L/(mol s). How long does its concentration "
        f"take to fall from {start} mol/L to {end} mol/L?",
        "s",
        seconds,
        (log(start / end) / constant, (start - end) / constant, 1 / (end * constant)),
        f"The integrated law is 1/c - 1/c0 = kt. So t = (1/{end} - 1/{start}) L/mol / {constant} L/(mol s) = "
        f"{figures(1 / end - 1 / start)} / {constant} s = {figures(seconds)} s.",
    )


def freezing_point(rng: Random) -> Question:
    """Freezing point of a salt solution."""
    salt, molar_mass, ions = rng.choice([("CaCl2", 110.98, 3), ("K2SO4", 174.26, 3), ("NaCl", 58.44, 2)])
    grams, water = rng.randrange(10, 40), rng.randrange(200, 600, 50)
    molal = grams / molar_mass / (water / 1000)
    return calculated(
        f"{grams} g of {salt} (molar mass {molar_mass} g/mol) are dissolved in {water} g of water. At what temperature "
        "does the solution freeze if the salt dissociates completely? (Kf = 1.86 K kg/mol)",
        "°C",
        -1.86 * ions * molal,
        (1.86 * ions * molal, -1.86 * molal, -1.86 * (ions + 1) * molal),
        f"The molality is {grams} g / {molar_mass} g/mol / {water / 1000} kg = {figures(molal)} mol/kg, and each unit "
        f"of {salt} gives {ions} ions. The freezing point falls by {ions} × 1.86 × {figures(molal)} K, to "
        f"{figures(-1.86 * ions * molal)} °C.",
    )


def real_gas_pressure(rng: Random) -> Question:
    """Pressure of a gas by van der Waals' equation."""
    gas, attraction, volume = rng.choice([("CO2", 3.64, 0.0427), ("CH4", 2.30, 0.0430), ("N2", 1.37, 0.0387)])
    moles, litres, kelvin = rng.randrange(20, 70) / 10, rng.randrange(10, 25) / 10, rng.randrange(320, 450, 10)
    ideal, inner = moles * 0.083145 * kelvin / litres, attraction * (moles / litres) ** 2
    repelled = moles * 0.083145 * kelvin / (litres - moles * volume)
    return calculated(
        f"What is the pressure of {moles} mol of {gas} in {litres} L at {kelvin} K by van der Waals' equation? (a = "
        f"{attraction} L² bar/mol², b = {volume} L/mol, R = 0.083145 L bar/(mol K))",
        "bar",
        repelled - inner,
        (ideal, repelled + inner, ideal - inner),
        f"The term nRT/(V - nb) is {figures(moles * 0.083145 * kelvin)} L bar / {figures(litres - moles * volume)} L = "
        f"{figures(repelled)} bar. The attraction takes off an²/V² = {figures(inner)} bar, which leaves "
        f"{figures(repelled - inner)} bar.",
    )


def unsaturation(rng: Random) -> Question:
    """Degree of unsaturation from a molecular formula."""
    degree, carbons, nitrogens, oxygens = rng.randrange(5, 9), rng.randrange(12, 18), rng.randrange(1, 4), 4
    hydrogens = 2 * carbons + 2 + nitrogens - 1 - 2 * degree
    formula = f"C{carbons}H{hydrogens}ClN{nitrogens if nitrogens > 1 else ''}O{oxygens}"
    return Question(
        f"How many rings and π bonds together does a molecule of the formula {formula} have?",
        str(degree),
        (str(degree - nitrogens), str(degree + 1), str(degree - oxygens)),
        f"A saturated acyclic molecule with {carbons} carbon and {nitrogens} nitrogen atoms has 2 × {carbons} + 2 + "
        f"{nitrogens} = {2 * carbons + 2 + nitrogens} monovalent atoms, whatever its oxygen. Here are {hydrogens} "
        f"hydrogen and 1 chlorine, so {2 * degree} are missing, two for each of {degree} rings or π bonds.",
    )


def oxidation_number(rng: Random) -> Question:
    """Oxidation number of an atom that stands twice in a salt."""
    metal, cations, symbol, element, oxygens = rng.choice(
        [("K", 2, "Cr", "chromium", 7), ("K", 2, "S", "sulfur", 5), ("Na", 4, "P", "phosphorus", 7)]
    )
    total = 2 * oxygens - cations
    options = [f"{value:+d}" for value in (total // 2, total, oxygens, (2 * oxygens + cations) // 2)]
    return Question(
        f"What is the oxidation number of {element} in {metal}{cations}{symbol}2O{oxygens}?",
        options[0],
        tuple(options[1:]),
        f"The {oxygens} oxygen atoms count -2 each and the {cations} {metal} atoms +1 each, "
        f"{cations - 2 * oxygens:+d} in all. The compound is neutral, so the two {element} atoms share {total:+d}, "
        f"which is {options[0]} each.",
    )


def smiles_formula(rng: Random) -> Question:
    """Molecular formula of a SMILES string."""
    smiles, carbons, hydrogens, rest, multiple = rng.choice(
        [
            ("CC(=O)NC1=CC=C(O)C=C1", 8, 9, "NO2", "1 ring and 4 double bonds"),
            ("CN1CCCC1C1=CN=CC=C1", 10, 14, "N2", "2 rings and 3 double bonds"),
            ("CC(C)CC1=CC=C(C=C1)C(C)C(=O)O", 13, 18, "O2", "1 ring and 4 double bonds"),
            ("O=C1CCC2(CC1)OCCO2", 8, 12, "O3", "2 rings and 1 double bond"),
        ]
    )
    shifts = ((0, 0), (0, 2), (0, -2), (1, 2))
    options = [f"C{carbons + carbon}H{hydrogens + hydrogen}{rest}" for carbon, hydrogen in shifts]
    return Question(
        f"What is the molecular formula of the molecule with the SMILES representation '{smiles}'?",
        options[0],
        tuple(options[1:]),
        f"The string names {carbons} carbon atoms, the heteroatoms {rest}, {multiple}. Hydrogen fills the valences "
        f"that these leave open, {hydrogens} in all, so the formula is {options[0]}.",
    )


def esterification(rng: Random) -> Question:
    """Product of an acid and an alcohol."""
    acyl, alkyl = rng.choice(["CCCC", "CC(C)C", "C1=CC=CC=C1"]), rng.choice(["CC", "CCC", "C(C)C"])
    acid, alcohol, ester = f"{acyl}C(=O)O", f"O{alkyl}", f"{acyl}C(=O)O{alkyl}"
    return Question(
        f"The acid {acid} is heated under reflux with the alcohol {alcohol} and a little concentrated sulfuric acid. "
        "Which SMILES notation represents the organic product?",
        ester,
        (f"{acyl}C(=O){alkyl}", f"{acyl}OC(=O){alkyl}", f"{acyl}CO{alkyl}"),
        f"A Fischer esterification joins the acyl group {acyl}C(=O) of the acid to the oxygen of the alcohol {alcohol} "
        f"and sets water free. The product is the ester {ester}.",
    )


TEMPLATES: tuple[Template, ...] = (
    hydrate_mass,
    limiting_reagent,
    weak_acid,
    buffered_base,
    salt_solubility,
    cell_potential,
    equilibrium_constant,
    activation_energy,
    second_order_time,
    freezing_point,
    real_gas_pressure,
    unsaturation,
    oxidation_number,
    smiles_formula,
    esterification,
)
