"""Physics: mechanics, waves, heat, electricity, quanta and relativity."""

from math import log, log10, pi, sqrt
from random import Random

from templates.question import Question, Template, calculated, figures


def capacitor_discharge(rng: Random) -> Question:
    """Time for a capacitor to discharge through a resistor down to a voltage."""
    microfarads, kilohms = rng.randrange(15, 95, 5), rng.randrange(12, 68)
    start, end = rng.randrange(60, 120, 5), rng.randrange(8, 30)
    constant = microfarads * 1e-6 * kilohms * 1e3
    seconds = constant * log(start / end)
    return calculated(
        f"A capacitor of {microfarads} µF, charged to {start} V, is discharged through a resistor of {kilohms} kΩ. "
        f"How long does it take until its voltage has fallen to {end} V?",
        "s",
        seconds,
        (constant * log10(start / end), constant * start / end, seconds / 2),
        f"The voltage falls as V = V0 exp(-t/RC) with RC = {figures(constant)} s. "
        f"Hence t = RC ln(V0/V) = {figures(constant)} s × ln({start}/{end}) = {figures(seconds)} s.",
    )


def adiabatic_compression(rng: Random) -> Question:
    """Temperature of a diatomic gas after an adiabatic compression."""
    celsius, ratio = rng.randrange(10, 60), rng.randrange(30, 120) / 10
    kelvin = (celsius + 273.15) * ratio**0.4
    return calculated(
        f"A diatomic ideal gas (γ = 1.40) at {celsius} °C is compressed reversibly and adiabatically to 1/{ratio} of "
        "its volume. What is its final temperature in kelvin?",
        "K",
        kelvin,
        ((celsius + 273.15) * ratio**1.4, celsius * ratio**0.4, (celsius + 273.15) * ratio ** (1 / 1.4)),
        f"T V^(γ-1) is constant in a reversible adiabatic process, and T1 = {celsius} + 273.15 = {celsius + 273.15} K. "
        f"So T2 = {celsius + 273.15} K × {ratio}^0.40 = {figures(kelvin)} K.",
    )


def relativistic_electron(rng: Random) -> Question:
    """Speed of an electron of known kinetic energy."""
    kiloelectronvolts = rng.randrange(60, 240, 5)
    gamma = 1 + kiloelectronvolts / 511
    beta = sqrt(1 - 1 / gamma**2)
    return calculated(
        f"An electron has a kinetic energy of {kiloelectronvolts} keV; its rest energy is 511 keV. What is its speed "
        "as a fraction of the speed of light?",
        "c",
        beta,
        (sqrt(2 * kiloelectronvolts / 511), 1 - 1 / gamma**2, sqrt(1 - 1 / gamma)),
        f"The Lorentz factor is γ = 1 + T/mc² = 1 + {kiloelectronvolts}/511 = {figures(gamma)}. "
        f"Then v/c = sqrt(1 - 1/γ²) = {figures(beta)}.",
    )


def stopping_potential(rng: Random) -> Question:
    """Stopping potential in the photoelectric effect."""
    nanometres, metal, work = rng.randrange(150, 240), *rng.choice([("zinc", 4.3), ("silver", 4.26), ("copper", 4.65)])
    volts = 1240 / nanometres - work
    return calculated(
        f"Light of wavelength {nanometres} nm falls on {metal}, whose work function is {work} eV. What potential stops "
        "the fastest photoelectrons? (hc = 1240 eV nm)",
        "V",
        volts,
        (1240 / nanometres, 1240 / nanometres + work, volts / 2),
        f"A photon has the energy 1240/{nanometres} eV = {figures(1240 / nanometres)} eV. The fastest electron keeps "
        f"{figures(1240 / nanometres)} eV - {work} eV = {figures(volts)} eV, which a potential of {figures(volts)} V "
        "stops.",
    )


def fringe_spacing(rng: Random) -> Question:
    """Spacing of double-slit fringes in a liquid."""
    nanometres, metres, tenths = rng.randrange(450, 690, 5), rng.randrange(12, 30) / 10, rng.randrange(2, 9)
    liquid, index = rng.choice([("water", 1.33), ("glycerol", 1.47), ("ethanol", 1.36)])
    millimetres = nanometres * 1e-9 * metres / (tenths * 1e-4) / index * 1e3
    return calculated(
        f"Two narrow slits 0.{tenths} mm apart are lit by light whose vacuum wavelength is {nanometres} nm. The "
        f"apparatus, with its screen {metres} m behind the slits, stands in {liquid} (n = {index}). How far apart are "
        "neighbouring bright fringes?",
        "mm",
        millimetres,
        (millimetres * index, millimetres * index**2, millimetres / 2),
        f"In {liquid} the wavelength is {nanometres} nm / {index} = {figures(nanometres / index)} nm. The spacing is "
        f"λL/d = {figures(nanometres / index)}e-9 m × {metres} m / 0.{tenths}e-3 m = {figures(millimetres)} mm.",
    )


def rolling_body(rng: Random) -> Question:
    """Speed of a body that has rolled down an incline."""
    shapes = {"solid sphere": 0.4, "solid cylinder": 0.5, "thin-walled hollow sphere": 2 / 3}
    shape, metres = rng.choice(list(shapes)), rng.randrange(12, 60) / 10
    speed = sqrt(2 * 9.81 * metres / (1 + shapes[shape]))
    return calculated(
        f"A {shape} starts from rest and rolls without slipping down an incline. What is the speed of its centre after "
        f"it has descended by a height of {metres} m? (g = 9.81 m/s²)",
        "m/s",
        speed,
        (sqrt(2 * 9.81 * metres), speed / sqrt(2), sqrt(2 * 9.81 * metres / shapes[shape])),
        f"Its moment of inertia is {figures(shapes[shape])} mr², so mgh = mv²/2 × (1 + {figures(shapes[shape])}). "
        f"Hence v = sqrt(2 × 9.81 × {metres} / {figures(1 + shapes[shape])}) m/s = {figures(speed)} m/s.",
    )


def pipe_pressure(rng: Random) -> Question:
    """Pressure drop of a laminar flow in a pipe."""
    liquid, millipascals = rng.choice([("olive oil", 84), ("a glycerol solution", 60), ("linseed oil", 33)])
    millimetres, metres, millilitres = rng.randrange(4, 14, 2), rng.randrange(5, 40) / 10, rng.randrange(5, 30)
    radius = millimetres / 2 * 1e-3
    pascals = 8 * millipascals * 1e-3 * metres * millilitres * 1e-6 / (pi * radius**4)
    return calculated(
        f"A pipe with an inner diameter of {millimetres} mm and a length of {metres} m carries {millilitres} mL/s of "
        f"{liquid}, whose viscosity is {millipascals} mPa s, in laminar flow. What is the pressure drop along it?",
        "Pa",
        pascals,
        (pascals / 16, pascals / 8, pascals * pi),
        f"The radius is {figures(radius)} m. By the law of Hagen and Poiseuille, Δp = 8ηLQ/(πr⁴) = "
        f"8 × {millipascals}e-3 × {metres} × {millilitres}e-6 / (π × {figures(radius)}⁴) Pa = {figures(pascals)} Pa.",
    )


def sample_activity(rng: Random) -> Question:
    """Activity of a mass of a radionuclide."""
    nuclide, mass, hours = rng.choice([("Tc-99m", 99, 6.01), ("I-123", 123, 13.2), ("F-18", 18, 1.83)])
    nanograms = rng.randrange(2, 60)
    atoms = nanograms * 1e-9 / mass * 6.022e23
    becquerels = log(2) / (hours * 3600) * atoms
    return calculated(
        f"What is the activity of {nanograms} ng of {nuclide} (molar mass {mass} g/mol, half-life {hours} h)? "
        "(N_A = 6.022e23 /mol)",
        "Bq",
        becquerels,
        (becquerels / log(2), becquerels * 3600, becquerels / log(10)),
        f"The sample holds {nanograms}e-9 g / {mass} g/mol × 6.022e23 /mol = {figures(atoms)} atoms. The decay "
        f"constant is ln 2 / ({hours} × 3600 s) = {figures(log(2) / (hours * 3600))} /s, and the activity their "
        f"product, {figures(becquerels)} Bq.",
    )


def generator_voltage(rng: Random) -> Question:
    """Peak voltage of a coil that turns in a magnetic field."""
    turns, centimetres = rng.randrange(80, 400, 20), rng.randrange(6, 24, 2)
    milliteslas, rpm = rng.randrange(40, 300, 10), rng.randrange(600, 3300, 300)
    area, omega = pi * (centimetres / 200) ** 2, 2 * pi * rpm / 60
    volts = turns * milliteslas * 1e-3 * area * omega
    return calculated(
        f"A round coil of {turns} turns and {centimetres} cm diameter rotates at {rpm} revolutions per minute about an "
        f"axis perpendicular to a uniform magnetic field of {milliteslas} mT. What is the peak voltage induced in it?",
        "V",
        volts,
        (volts / (2 * pi), volts * 4, volts / sqrt(2)),
        f"The area is π × ({centimetres / 2} cm)² = {figures(area)} m² and ω = 2π × {rpm} / 60 s = {figures(omega)} "
        f"/s. The peak voltage is NBAω = {turns} × {milliteslas}e-3 × {figures(area)} × {figures(omega)} V = "
        f"{figures(volts)} V.",
    )


def echo_frequency(rng: Random) -> Question:
    """Frequency of an ultrasonic echo from an approaching target."""
    kilohertz, speed = rng.randrange(30, 90), rng.randrange(18, 45)
    echo = kilohertz * (343 + speed) / (343 - speed)
    one_way = kilohertz * (343 + speed) / 343
    return calculated(
        f"A detector at rest sends out ultrasound of {kilohertz} kHz. A target that approaches it at {speed} m/s "
        "reflects the sound. At what frequency does the detector hear the echo? (speed of sound 343 m/s)",
        "kHz",
        echo,
        (one_way, kilohertz**2 / echo, kilohertz * 343 / (343 + speed)),
        f"The target receives {kilohertz} kHz × (343 + {speed})/343 = {figures(one_way)} kHz and re-emits it as a "
        f"moving source. The echo has {kilohertz} kHz × (343 + {speed})/(343 - {speed}) = {figures(echo)} kHz.",
    )


def orbital_period(rng: Random) -> Question:
    """Period of a satellite on a circular orbit."""
    planet, kilometres, gm = rng.choice(
        [("Earth", 6371, 3.986e14), ("Mars", 3390, 4.283e13), ("Venus", 6052, 3.249e14)]
    )
    height = rng.randrange(2000, 9000, 250)
    radius = (kilometres + height) * 1e3
    hours = 2 * pi * sqrt(radius**3 / gm) / 3600
    return calculated(
        f"A satellite circles {planet} at a height of {height} km above the surface. What is its period? (radius of "
        f"{planet} {kilometres} km, GM = {gm:.3e} m³/s²)",
        "h",
        hours,
        (hours / (2 * pi), hours * (height / (kilometres + height)) ** 1.5, hours * (kilometres * 1e3 / radius) ** 1.5),
        f"The orbit has the radius {kilometres} km + {height} km = {kilometres + height} km. Kepler's third law gives "
        f"T = 2π sqrt(r³/GM) = 2π × sqrt(({figures(radius)} m)³ / {gm:.3e} m³/s²) = {figures(hours)} h.",
    )


def planet_temperature(rng: Random) -> Question:
    """Equilibrium temperature of a planet without an atmosphere."""
    irradiance, albedo = rng.randrange(300, 2800, 50), rng.randrange(10, 75, 5) / 100
    kelvin = (irradiance * (1 - albedo) / (4 * 5.67e-8)) ** 0.25
    return calculated(
        f"A fast-rotating planet without an atmosphere receives {irradiance} W/m² of starlight and has an albedo of "
        f"{albedo}. What is its equilibrium temperature? (σ = 5.67e-8 W/(m² K⁴))",
        "K",
        kelvin,
        (kelvin * 4**0.25, kelvin * (albedo / (1 - albedo)) ** 0.25, kelvin / (1 - albedo) ** 0.25),
        f"It absorbs (1 - {albedo}) × {irradiance} W/m² on its disc πR² and radiates from its surface 4πR². So "
        f"T⁴ = {figures(irradiance * (1 - albedo))} / (4 × 5.67e-8) K⁴, and T = {figures(kelvin)} K.",
    )


def box_transition(rng: Random) -> Question:
    """Wavelength that an electron in a box emits."""
    nanometres, lower = rng.randrange(5, 19) / 10, rng.randrange(1, 4)
    upper = lower + rng.randrange(1, 4)
    unit = 8 * 9.109e-31 * (nanometres * 1e-9) ** 2 * 2.998e8 / 6.626e-34 * 1e9
    wavelength = unit / (upper**2 - lower**2)
    return calculated(
        f"An electron in a one-dimensional box with infinitely high walls, {nanometres} nm long, falls from n = "
        f"{upper} to n = {lower}. What is the wavelength of the photon? (m = 9.109e-31 kg, h = 6.626e-34 J s, c = "
        "2.998e8 m/s)",
        "nm",
        wavelength,
        (unit / (upper - lower) ** 2, unit / upper**2, wavelength / 4),
        f"The levels are n²h²/(8mL²), so λ = 8mL²c / (h (n2² - n1²)). Here 8mL²c/h = {figures(unit)} nm and "
        f"{upper}² - {lower}² = {upper**2 - lower**2}, which gives λ = {figures(wavelength)} nm.",
    )


def series_current(rng: Random) -> Question:
    """Current through a resistor, a coil and a capacitor in series."""
    volts, hertz, ohms = rng.randrange(12, 60, 2), rng.randrange(40, 160, 10), rng.randrange(20, 120, 5)
    millihenries, microfarads = rng.randrange(50, 400, 10), rng.randrange(10, 80, 2)
    inductive, capacitive = 2 * pi * hertz * millihenries * 1e-3, 1 / (2 * pi * hertz * microfarads * 1e-6)
    amperes = volts / sqrt(ohms**2 + (inductive - capacitive) ** 2)
    return calculated(
        f"A resistor of {ohms} Ω, a coil of {millihenries} mH and a capacitor of {microfarads} µF are in series with "
        f"an alternating source of {volts} V (rms) at {hertz} Hz. What is the rms current?",
        "A",
        amperes,
        (
            volts / sqrt(ohms**2 + (inductive + capacitive) ** 2),
            volts / (ohms + abs(inductive - capacitive)),
            volts / ohms,
        ),
        f"The reactances are ωL = {figures(inductive)} Ω and 1/(ωC) = {figures(capacitive)} Ω. The impedance is "
        f"sqrt({ohms}² + {figures(inductive - capacitive)}²) Ω = {figures(volts / amperes)} Ω, and {volts} V divided "
        f"by it is {figures(amperes)} A.",
    )


def dimensional_analysis(rng: Random) -> Question:
    """The one combination of quantities that has the dimension of a speed, a time or a length."""
    asked, symbols, right, wrong, worked = rng.choice(_COMBINATIONS)
    named = ", ".join(f"{name} {symbol}" for symbol, name in symbols.items())
    return Question(
        f"A theory predicts a {asked} from three quantities alone: {named}. Which of these combinations has the "
        f"dimension of a {asked}?",
        right,
        wrong,
        worked,
    )


_COMBINATIONS = (
    (
        "speed",
        {"γ": "the surface tension", "ρ": "the density", "λ": "the wavelength"},
        "γ^(1/2) ρ^(-1/2) λ^(-1/2)",
        ("γ^(1/2) ρ^(-1/2) λ^(1/2)", "γ^(1) ρ^(-1) λ^(-1)", "γ^(-1/2) ρ^(1/2) λ^(1/2)"),
        "The units are kg/s² for γ, kg/m³ for ρ and m for λ. So γ/(ρλ) has (kg/s²) / (kg/m²) = m²/s², and its square "
        "root has m/s.",
    ),
    (
        "length",
        {"G": "the gravitational constant", "M": "the mass", "c": "the speed of light"},
        "G^(1) M^(1) c^(-2)",
        ("G^(1) M^(1) c^(-1)", "G^(1) M^(2) c^(-2)", "G^(-1) M^(-1) c^(2)"),
        "The units are m³/(kg s²) for G, kg for M and m/s for c. So GM has m³/s², and GM/c² has m.",
    ),
    (
        "time",
        {"ħ": "the reduced Planck constant", "G": "the gravitational constant", "c": "the speed of light"},
        "ħ^(1/2) G^(1/2) c^(-5/2)",
        ("ħ^(1/2) G^(1/2) c^(-3/2)", "ħ^(1) G^(1) c^(-5)", "ħ^(1/2) G^(-1/2) c^(1/2)"),
        "The units are kg m²/s for ħ, m³/(kg s²) for G and m/s for c. So ħG has m⁵/s³ and ħG/c⁵ has s², whose square "
        "root has s.",
    ),
    (
        "time",
        {"ρ": "the density", "R": "the radius", "γ": "the surface tension"},
        "ρ^(1/2) R^(3/2) γ^(-1/2)",
        ("ρ^(1/2) R^(1/2) γ^(-1/2)", "ρ^(-1/2) R^(-3/2) γ^(1/2)", "ρ^(1) R^(3) γ^(-1)"),
        "The units are kg/m³ for ρ, m for R and kg/s² for γ. So ρR³ has kg, ρR³/γ has s², and its square root has s.",
    ),
)

TEMPLATES: tuple[Template, ...] = (
    capacitor_discharge,
    adiabatic_compression,
    relativistic_electron,
    stopping_potential,
    fringe_spacing,
    rolling_body,
    pipe_pressure,
    sample_activity,
    generator_voltage,
    echo_frequency,
    orbital_period,
    planet_temperature,
    box_transition,
    series_current,
    dimensional_analysis,
)
