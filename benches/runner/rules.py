"""The rule files that are measured. Limits are so high that nobody reaches them, but for `flood`."""

# Full answers: three headers on each, and a JSON body on a refusal.
HEAD = """\
domain: bench
response:
  headers: ratelimit
  expose: always
  retry_after: true
  body:
    content_type: application/json
    template: '{"error": {"type": "rate_limit_error", "message": "{{ message }}"}, "retrySecs": {{ retry_after }}}'
descriptors:
"""

# Above what one key gets in its longest window, at any speed.
ENOUGH = 1_000_000_000

# The first, which most is measured with, is a day: counters of a minute would end while millions of them are made.
WINDOWS = ["day", "minute", "hour", "second", "2m", "3m", "4m", "5m"]


def standard():
    """One rule for each thing that is measured; a load chooses among them by the keys of its descriptors."""
    lines = [rule("one", 1), "  - {key: flood, limits: [1/day]}"]
    lines += [rule(f"three_{number}", 2) for number in range(1, 4)]
    lines += [rule(f"windows_{number}", number) for number in range(1, len(WINDOWS) + 1)]
    lines += [rule(f"several_{number}", 1) for number in range(1, 9)]
    return HEAD + "\n".join(lines) + "\n"


def rule(key, windows):
    limits = ", ".join(f"{ENOUGH}/{window}" for window in WINDOWS[:windows])
    return f"  - {{key: {key}, limits: [{limits}]}}"


def many(count):
    """A rule for everybody, and one for each of `count - 1` customers: what a file grows to over the years."""
    customer = "  - {{key: one, value: key-{:010}, limits: [{}/day]}}"
    lines = [rule("one", 1)] + [customer.format(number, ENOUGH) for number in range(count - 1)]
    return HEAD + "\n".join(lines) + "\n"
