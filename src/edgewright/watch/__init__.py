"""The terminal monitor: what a live service says of itself, once a second.

    where -> link -> asker -> said -> lately -> page -> terminal

`where` and `link` reach the service, `asker` asks it in a thread of its own, `said` takes its answers apart and believes nothing, `lately`
compares each with those before, `page` lays it out as lines, and `terminal` draws them. Everything from `said` to `page` is pure.
"""
