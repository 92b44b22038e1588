"""How many episodes of ALFWorld a second, beside the plain package on the same games in one run.

An episode is a start of the game and the commands of its walkthrough; the last must win. The plain package makes its
environment for each episode, as ALFWorld does for each game that it plays. Ours are asked of the engine processes:
games that they meet for the first time, all of 8 attempts at games that they have not met, and the same by threads.
Rounds are interleaved; printed are episodes per second, and their ratio to the plain package's, median and range.

    python benchmarks/textgames.py --rounds 3 --games 6 [--source games_train.tar.xz]
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import textworld
from alfworld.agents.environment.alfred_tw_env import AlfredDemangler

from sdpo_envs.alfredgame import Game, load_games
from sdpo_envs.textengine import Engine, Logic
from sdpo_envs.textworker import GOAL

GROUP = 8


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
    engine = Engine(settings.workers)
    last = games[-1].logic("own")
    for number in range(4 * settings.workers):  # starts every process
        engine.ask(Logic(last.domain, last.grammar, f"goal {number}", last.problem))
    rates: dict[str, list[float]] = {}
    for number in range(settings.rounds):
        played = chosen[number * settings.games : (number + 1) * settings.games]
        for name, rate in measured(played, engine).items():
            rates.setdefault(name, []).append(rate)
    engine.close()
    report(rates)


def measured(games: Sequence[Game], engine: Engine) -> dict[str, float]:
    """Play these games in every way, and return the episodes per second of each."""
    logics = [(game.logic("own"), game.walkthrough) for game in games]
    renamed = [(Logic(logic.domain, logic.grammar, f"{logic.goal} ", logic.problem), way) for logic, way in logics]
    with ThreadPoolExecutor(GROUP) as threads:
        return {
            "plain package": rate(plain, logics, map),
            "first attempt": rate(lambda logic, way: ours(engine, logic, way), logics, map),
            "8 attempts": rate(lambda logic, way: ours(engine, logic, way), renamed * GROUP, map),
            "8 again, threads": rate(lambda logic, way: ours(engine, logic, way), logics * GROUP, threads.map),
        }


def rate(play: Callable[[Logic, Sequence[str]], None], episodes: Sequence[tuple[Logic, Sequence[str]]], walk) -> float:
    """Return how many of these episodes are played in a second."""
    begun = time.perf_counter()
    list(walk(lambda episode: play(*episode), episodes))
    return len(episodes) / (time.perf_counter() - begun)


def ours(engine: Engine, logic: Logic, way: Sequence[str]) -> None:
    """Play an episode in the engine processes."""
    engine.ask(logic)
    for end, command in enumerate(way):
        answer = engine.ask(logic, way[:end], command)
    assert answer.won


def plain(logic: Logic, way: Sequence[str]) -> None:
    """Play an episode in the plain package's environment."""
    grammar = logic.grammar.replace(GOAL, logic.goal)
    with tempfile.NamedTemporaryFile("w", suffix=".tw-pddl") as file:
        json.dump({"pddl_domain": logic.domain, "grammar": grammar, "pddl_problem": logic.problem}, file)
        file.flush()
        infos = textworld.EnvInfos(won=True, admissible_commands=True)
        env = textworld.start(file.name, infos, [AlfredDemangler()])
    env.reset()
    for command in way:
        state, _, _ = env.step(command)
    assert state.won


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
