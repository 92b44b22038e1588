"""How many episodes of ALFWorld a second, beside the plain package on the same games in one run.

An episode is a start of the game, eight walks to places, other ones in each attempt, and the commands of the game's
walkthrough; the last must win. The plain package loads a game for each episode into an environment that stays, as
ALFWorld does. Ours are asked of the engine processes, of games that these have not met: one attempt at each, which must
say word for word what the plain package says; 8 attempts at each; and the same by threads, which keep all processes
busy where the others keep one. Rounds are interleaved; printed are episodes per second, and their ratio to the plain
package's, median and range.

    python benchmarks/textgames.py --rounds 3 --games 6 [--source games_train.tar.xz]
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import textworld
from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
from textworld.envs.wrappers import GenericEnvironment

from sdpo_envs.alfredgame import Game, load_games
from sdpo_envs.textengine import Engine, Logic
from sdpo_envs.textworker import GOAL

GROUP = 8
WALKS = 8

Episode = tuple[Logic, Sequence[str], int]
"""A game, its walkthrough, and the number of the attempt."""


def main() -> None:
    """Print a row for each way to play."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--games", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--source")
    settings = parser.parse_args()
    games = [game for game in load_games(settings.source, "train") if game.walkthrough]
    chosen = games[:: max(1, len(games) // (settings.games * settings.rounds + 1))]
    env = AlfredDemangler(GenericEnvironment(textworld.EnvInfos(won=True, admissible_commands=True)))
    engine = Engine(settings.workers)
    last = games[-1].logic("own")
    for number in range(4 * settings.workers):  # starts every process
        engine.ask(Logic(last.domain, last.grammar, f"goal {number}", last.problem))
    rates: dict[str, list[float]] = {}
    for number in range(settings.rounds):
        played = chosen[number * settings.games : (number + 1) * settings.games]
        for name, rate in measured(played, env, engine).items():
            rates.setdefault(name, []).append(rate)
    engine.close()
    report(rates)


def measured(games: Sequence[Game], env: Any, engine: Engine) -> dict[str, float]:
    """Play these games in every way, and return the episodes per second of each."""
    one, several, threaded = (renamed(games, " " * number, (1, GROUP, GROUP)[number]) for number in range(3))
    with ThreadPoolExecutor(GROUP) as threads:
        theirs, plain_rate = timed(lambda *episode: plain(env, *episode), one, map)
        ours, first = timed(lambda *episode: asked(engine, *episode), one, map)
        _, many = timed(lambda *episode: asked(engine, *episode), several, map)
        _, at_once = timed(lambda *episode: asked(engine, *episode), threaded, threads.map)
    if ours != theirs:
        raise SystemExit("The engine processes do not say what the plain package says.")
    return {"plain package": plain_rate, "one attempt": first, "8 attempts": many, "8 by threads": at_once}


def renamed(games: Sequence[Game], mark: str, attempts: int) -> list[Episode]:
    """Return so many attempts at each game, with a mark on its goal by which it is another game."""
    logics = [(game.logic("own"), game.walkthrough) for game in games]
    marked = [(Logic(each.domain, each.grammar, each.goal + mark, each.problem), way) for each, way in logics]
    return [(logic, way, number) for number in range(attempts) for logic, way in marked]


def timed(play: Callable[..., list[str]], episodes: Sequence[Episode], walk: Callable[..., Any]) -> tuple[Any, float]:
    """Return what was said in each of these episodes, and how many were played in a second."""
    begun = time.perf_counter()
    said = list(walk(lambda episode: play(*episode), episodes))
    return said, len(episodes) / (time.perf_counter() - begun)


def asked(engine: Engine, logic: Logic, way: Sequence[str], attempt: int) -> list[str]:
    """Play an episode in the engine processes, and return what they say."""
    chance, path = random.Random(attempt), list[str]()
    answer = engine.ask(logic)
    said = [answer.text]
    for turn in range(WALKS + len(way)):
        command = chosen_command(turn, way, answer.commands, chance)
        answer = engine.ask(logic, path, command)
        said.append(answer.text)
        path += [command] if answer.moved else []
    assert answer.won
    return said


def plain(env: Any, logic: Logic, way: Sequence[str], attempt: int) -> list[str]:
    """Play an episode in the plain package's environment, and return what it says."""
    grammar = logic.grammar.replace(GOAL, logic.goal)
    with tempfile.NamedTemporaryFile("w", suffix=".tw-pddl") as file:
        json.dump({"pddl_domain": logic.domain, "grammar": grammar, "pddl_problem": logic.problem}, file)
        file.flush()
        env.load(file.name)
    chance, state = random.Random(attempt), env.reset()
    said = [state.feedback]
    for turn in range(WALKS + len(way)):
        state, _, _ = env.step(chosen_command(turn, way, state.admissible_commands, chance))
        said.append(state.feedback)
    assert state.won
    return said


def chosen_command(turn: int, way: Sequence[str], commands: Sequence[str], chance: random.Random) -> str:
    """Return a walk to some place, or, after the walks, the next command of the walkthrough."""
    walks = [command for command in commands if command.startswith("go to ")]
    return chance.choice(walks) if turn < WALKS else way[turn - WALKS]


def report(rates: dict[str, list[float]]) -> None:
    """Print episodes per second, and their ratio to the plain package's, median and range."""
    plain_rates = rates["plain package"]
    print(f"{'':18} {'episodes/s':>10}   {'[min, max]':>16}   times the plain package's [min, max]")
    for name, measured_rates in rates.items():
        ratios = [mine / peer for mine, peer in zip(measured_rates, plain_rates, strict=True)]
        low, high = min(measured_rates), max(measured_rates)
        speed = f"{statistics.median(measured_rates):10.2f}   [{low:6.2f}, {high:6.2f}]"
        print(f"{name:18} {speed}   {statistics.median(ratios):8.1f} [{min(ratios):.1f}, {max(ratios):.1f}]")


if __name__ == "__main__":
    main()
