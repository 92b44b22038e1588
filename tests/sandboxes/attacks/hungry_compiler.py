"""Is a program that takes the compiler a long way down.

program; fools none: every judge survives what the compiler does.
"""

exec("(" * 100_000)
exec("-" * 1_000_000 + "1")
