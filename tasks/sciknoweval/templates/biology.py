"""Biology: sequences, enzymes, heredity, populations. Two templates have two options."""

from math import log, log10, sqrt
from random import Random

from templates.question import Question, Template, calculated, figures

_CODONS = {
    "A": "GCU GCC GCA GCG",
    "R": "CGU CGC CGA CGG AGA AGG",
    "N": "AAU AAC",
    "D": "GAU GAC",
    "C": "UGU UGC",
    "Q": "CAA CAG",
    "E": "GAA GAG",
    "G": "GGU GGC GGA GGG",
    "H": "CAU CAC",
    "I": "AUU AUC AUA",
    "L": "UUA UUG CUU CUC CUA CUG",
    "K": "AAA AAG",
    "M": "AUG",
    "F": "UUU UUC",
    "P": "CCU CCC CCA CCG",
    "S": "UCU UCC UCA UCG AGU AGC",
    "T": "ACU ACC ACA ACG",
    "W": "UGG",
    "Y": "UAU UAC",
    "V": "GUU GUC GUA GUG",
    "*": "UAA UAG UGA",
}
_AMINO_ACIDS = {codon: amino_acid for amino_acid, codons in _CODONS.items() for codon in codons.split()}
_COMPLEMENT = str.maketrans("ACGT", "TGCA")


def translation(rng: Random) -> Question:
    """Peptide that a messenger RNA codes for."""
    residues = rng.sample([letter for letter in _CODONS if letter not in "M*"], 7)
    codons = ["AUG", *(rng.choice(_CODONS[letter].split()) for letter in residues), rng.choice(_CODONS["*"].split())]
    # Without A there is neither a start nor a stop before the AUG.
    leader, trailer = "".join(rng.choices("CGU", k=7)), "".join(rng.choices("ACGU", k=6))
    message = f"{leader}{''.join(codons)}{trailer}"
    peptide = f"M{''.join(residues)}"
    return Question(
        f"A ribosome starts at the first AUG of the messenger RNA 5'-{message}-3' and stops at the first stop codon in "
        "frame. Which peptide does it make, from the amino to the carboxyl end?",
        peptide,
        (peptide[::-1], _translate(message), peptide + _translate(trailer)),
        f"The first AUG begins at base {len(leader) + 1}. Read in triplets from there, the message is "
        f"{' '.join(codons)}, and the last of these is a stop codon. They code for {peptide}.",
    )


def _translate(message: str) -> str:
    """Read triplets from the first base up to a stop codon."""
    codons = (message[start : start + 3] for start in range(0, len(message) - 2, 3))
    return "".join(_AMINO_ACIDS[codon] for codon in codons).partition("*")[0]


def opposite_strand(rng: Random) -> Question:
    """Sequence of the other strand of a DNA."""
    strand = "".join(rng.choices("ACGT", k=18))
    paired = strand.translate(_COMPLEMENT)
    return Question(
        f"One strand of a double-stranded DNA is 5'-{strand}-3'. What is the other strand?",
        f"5'-{paired[::-1]}-3'",
        (f"5'-{paired}-3'", f"5'-{strand[::-1]}-3'", f"3'-{strand}-5'"),
        f"A pairs with T and G with C, so the given strand faces 3'-{paired}-5'. Written from its own 5' end, this is "
        f"5'-{paired[::-1]}-3'.",
    )


def melting_temperature(rng: Random) -> Question:
    """Melting temperature of a primer."""
    primer = "".join(rng.choices("ACGT", k=rng.randrange(20, 27)))
    strong, length = sum(primer.count(base) for base in "GC"), len(primer)
    celsius = 64.9 + 41 * (strong - 16.4) / length
    return calculated(
        f"Estimate the melting temperature of the primer 5'-{primer}-3' by Tm = 64.9 °C + 41 °C × (G + C - 16.4) / N, "
        "where G and C count these bases and N counts all.",
        "°C",
        celsius,
        (64.9 + 41 * (length - strong - 16.4) / length, 64.9 + 41 * strong / length, 2 * length + 2 * strong),
        f"The primer has {length} bases, of which {strong} are G or C. So Tm = 64.9 °C + 41 °C × ({strong} - 16.4) / "
        f"{length} = {figures(celsius)} °C.",
    )


def hydrogen_bonds(rng: Random) -> Question:
    """Hydrogen bonds of a duplex from its share of adenine."""
    pairs, percent = rng.randrange(200, 2000, 100), rng.randrange(16, 35)
    weak = 2 * pairs * percent // 100
    bonds = 3 * pairs - weak
    return Question(
        f"A double-stranded DNA of {pairs} base pairs has {percent} % adenine among all its bases. How many hydrogen "
        "bonds hold its base pairs together?",
        str(bonds),
        (str(2 * pairs + weak), str(3 * pairs - weak // 2), str(2 * bonds)),
        f"Every A faces a T, so {percent} % of the {2 * pairs} bases make {weak} A-T pairs, and {pairs - weak} G-C "
        f"pairs remain. They have 2 × {weak} + 3 × {pairs - weak} = {bonds} hydrogen bonds.",
    )


def competitive_inhibitor(rng: Random) -> Question:
    """Rate of an enzyme with a competitive inhibitor."""
    fastest, half, substrate = rng.randrange(40, 160, 5), rng.randrange(10, 60), rng.randrange(20, 120, 5)
    inhibitor, binding = rng.randrange(10, 60, 5), rng.randrange(5, 30)
    factor = 1 + inhibitor / binding
    rate = fastest * substrate / (half * factor + substrate)
    return calculated(
        f"An enzyme has Vmax = {fastest} µmol/min and Km = {half} µM. How fast does it turn over {substrate} µM of "
        f"substrate in the presence of {inhibitor} µM of a competitive inhibitor with Ki = {binding} µM?",
        "µmol/min",
        rate,
        (
            fastest * substrate / ((half + substrate) * factor),
            fastest * substrate / (half + substrate * factor),
            fastest * substrate / (half + substrate),
        ),
        f"A competitive inhibitor raises Km by the factor 1 + {inhibitor}/{binding} = {figures(factor)}, to "
        f"{figures(half * factor)} µM, and leaves Vmax. So v = {fastest} × {substrate} / ({figures(half * factor)} + "
        f"{substrate}) µmol/min = {figures(rate)} µmol/min.",
    )


def double_reciprocal(rng: Random) -> Question:
    """Michaelis constant from the rates at two concentrations."""
    low, high = rng.randrange(5, 20), rng.randrange(40, 120, 5)
    true_half, true_fastest = rng.randrange(15, 60), rng.randrange(20, 90)
    slow, fast = (round(true_fastest * each / (true_half + each), 2) for each in (low, high))
    slope = (1 / slow - 1 / fast) / (1 / low - 1 / high)
    fastest = 1 / (1 / fast - slope / high)
    return calculated(
        f"An enzyme that follows Michaelis and Menten turns over {slow} µM/s at {low} µM of substrate and {fast} µM/s "
        f"at {high} µM. What is its Km?",
        "µM",
        slope * fastest,
        (slope, fastest, 1 / (slope * fastest)),
        f"1/v is linear in 1/[S] with the slope Km/Vmax = (1/{slow} - 1/{fast}) / (1/{low} - 1/{high}) = "
        f"{figures(slope)} s. The intercept gives Vmax = {figures(fastest)} µM/s, and Km = {figures(slope)} × "
        f"{figures(fastest)} µM = {figures(slope * fastest)} µM.",
    )


def carrier_frequency(rng: Random) -> Question:
    """Frequency of carriers of a recessive allele."""
    people = rng.randrange(100, 2500, 50)
    allele = 1 / sqrt(people)
    return calculated(
        f"A recessive disease affects 1 in {people} newborns of a population in Hardy-Weinberg equilibrium. What "
        "share of the population carries one copy of the allele?",
        "",
        2 * allele * (1 - allele),
        (allele, allele * (1 - allele), 2 * allele**2),
        f"The allele's frequency is q = sqrt(1/{people}) = {figures(allele)}. Carriers make up 2pq = 2 × "
        f"{figures(1 - allele)} × {figures(allele)} = {figures(2 * allele * (1 - allele))} of the population.",
    )


def map_distance(rng: Random) -> Question:
    """Distance of two genes from a test cross."""
    parental = rng.randrange(300, 480), rng.randrange(300, 480)
    recombinant = rng.randrange(30, 150), rng.randrange(30, 150)
    total = sum(parental) + sum(recombinant)
    distance = 100 * sum(recombinant) / total
    return calculated(
        "A fly heterozygous for two linked genes, AB/ab, is crossed with ab/ab. Its offspring receive from it the "
        f"gametes AB ({parental[0]}), ab ({parental[1]}), Ab ({recombinant[0]}) and aB ({recombinant[1]}). How far "
        "apart are the genes?",
        "cM",
        distance,
        (100 * recombinant[0] / total, 100 * sum(recombinant) / sum(parental), 100 - distance),
        f"Ab and aB are recombinant, {sum(recombinant)} of {total} gametes. One percent of recombinants is one "
        f"centimorgan, so the distance is 100 × {sum(recombinant)}/{total} = {figures(distance)} cM.",
    )


def sibling_risk(rng: Random) -> Question:
    """Risk of a child whose mother's brother is ill."""
    carriers = rng.randrange(20, 120, 2)
    return Question(
        "A healthy woman has a brother with an autosomal recessive disease; their parents are healthy. Her partner "
        f"comes from a population in which 1 in {carriers} people is a carrier, and is healthy himself. What is the "
        "probability that their first child has the disease?",
        f"1 in {6 * carriers}",
        (f"1 in {8 * carriers}", f"1 in {4 * carriers}", f"1 in {3 * carriers // 2}"),
        "Both her parents are carriers, and as she is healthy she is one with probability 2/3. Her partner is one "
        f"with probability 1/{carriers}, and two carriers have an ill child with probability 1/4. The product is 2/3 "
        f"× 1/{carriers} × 1/4 = 1/{6 * carriers}.",
    )


def logistic_growth(rng: Random) -> Question:
    """Growth of a population that has a carrying capacity."""
    rate, capacity = rng.randrange(10, 90, 5) / 100, rng.randrange(500, 3000, 100)
    size = rng.randrange(100, capacity, 20)
    growth = rate * size * (1 - size / capacity)
    return calculated(
        f"A population of {size} animals grows logistically with r = {rate} per year and a carrying capacity of "
        f"{capacity}. How fast does it grow at this moment?",
        "animals per year",
        growth,
        (rate * size, rate * size**2 / capacity, rate * (capacity - size)),
        f"The logistic law is dN/dt = rN(1 - N/K). The share of the capacity still free is 1 - {size}/{capacity} = "
        f"{figures(1 - size / capacity)}, so dN/dt = {rate} × {size} × {figures(1 - size / capacity)} = "
        f"{figures(growth)} animals per year.",
    )


def effective_size(rng: Random) -> Question:
    """Effective size of a population with few males."""
    males, females = rng.randrange(4, 30), rng.randrange(60, 300, 5)
    size = 4 * males * females / (males + females)
    return calculated(
        f"In a herd, {males} males and {females} females breed, with random mating among them. What is the effective "
        "population size?",
        "animals",
        size,
        (males + females, size / 4, size / 2),
        f"With unequal sexes Ne = 4 Nm Nf / (Nm + Nf). Here it is 4 × {males} × {females} / {males + females} = "
        f"{figures(size)}, far fewer than the {males + females} that breed.",
    )


def generation_time(rng: Random) -> Question:
    """Doubling time of bacteria from two counts."""
    start, ratio, minutes = rng.randrange(2, 10), rng.randrange(12, 80), rng.randrange(90, 300, 10)
    generations = log(ratio) / log(2)
    return calculated(
        f"A culture of bacteria grows exponentially from {start}e5 to {start * ratio}e5 cells per mL in {minutes} "
        "minutes. What is its generation time?",
        "min",
        minutes / generations,
        (minutes / log(ratio), minutes / log10(ratio), minutes / ratio),
        f"The number grows by the factor {start * ratio}/{start} = {ratio}, which takes log2 {ratio} = "
        f"{figures(generations)} generations. So one of them takes {minutes} min / {figures(generations)} = "
        f"{figures(minutes / generations)} min.",
    )


def peptide_charge(rng: Random) -> Question:
    """Net charge of a peptide in neutral solution."""
    peptide = "".join(rng.choices("KRDEHGALST", k=14))
    positive, negative = (sum(peptide.count(each) for each in group) for group in ("KR", "DE"))
    charge = positive - negative
    options = [f"{each:+d}" if each else "0" for each in (charge, charge + peptide.count("H"), -charge, charge - 1)]
    return Question(
        f"What is the net charge of the peptide {peptide} at pH 7.4, to the nearest integer? Its ends are free. (pKa "
        "of side chains: D 3.9, E 4.1, H 6.0, K 10.5, R 12.5; ends: 3.6 and 8.8)",
        options[0],
        tuple(options[1:]),
        f"At pH 7.4 K and R, {positive} of them, are positive, D and E, {negative} of them, negative, and H is almost "
        f"neutral. The two ends cancel. The net charge is {positive} - {negative} = {options[0]}.",
    )


def stabler_duplex(rng: Random) -> Question:
    """Which of two duplexes melts at the higher temperature; two options."""
    low, high = ("".join(rng.sample(bases, 16)) for bases in (_mixture(rng, 6), _mixture(rng, 11)))
    return Question(
        "Two DNA duplexes of equal length are heated in the same buffer. One strand of each is given, from 5' to 3'. "
        "Which duplex melts at the higher temperature?",
        high,
        (low,),
        f"G-C pairs have three hydrogen bonds and stack more strongly than A-T pairs. {high} has "
        f"{sum(map(high.count, 'GC'))} of them and {low} only {sum(map(low.count, 'GC'))}.",
    )


def _mixture(rng: Random, strong: int) -> list[str]:
    """Sixteen bases, about `strong` of them G or C."""
    strong += rng.randrange(2)
    return [*rng.choices("GC", k=strong), *rng.choices("AT", k=16 - strong)]


def silent_mutation(rng: Random) -> Question:
    """Which of two mutants keeps its protein; two options."""
    gene = "ATG" + "".join(rng.choice(_CODONS[each].split()) for each in rng.choices("ARGLPSTV", k=9)).replace("U", "T")
    mutants = [
        gene[:place] + base + gene[place + 1 :]
        for place in range(3, len(gene))
        for base in "ACGT"
        if base != gene[place]
    ]
    protein = _translate(gene.replace("T", "U"))
    silent, changed = (
        rng.choice([each for each in mutants if (_translate(each.replace("T", "U")) == protein) is kept])
        for kept in (True, False)
    )
    return Question(
        f"A gene begins with the coding sequence 5'-{gene}-3'. Two mutants each differ from it in one base. Which "
        "mutant still makes the same protein?",
        silent,
        (changed,),
        f"The sequence codes for {protein}. {changed} codes for {_translate(changed.replace('T', 'U'))} instead, but "
        f"in {silent} the new codon stands for the same amino acid, so the protein stays {protein}.",
    )


TEMPLATES: tuple[Template, ...] = (
    translation,
    opposite_strand,
    melting_temperature,
    hydrogen_bonds,
    competitive_inhibitor,
    double_reciprocal,
    carrier_frequency,
    map_distance,
    sibling_risk,
    logistic_growth,
    effective_size,
    generation_time,
    peptide_charge,
    stabler_duplex,
    silent_mutation,
)
