"""A stand-in for Vercel, so that a drill rolls back through the same API, over real sockets, as an emergency does.

One process, `python -m toolkit.drill.platform CONFIG.json`, holds two servers on sockets that its parent bound: the
REST API, and the production address, a router to whichever deployment production points at. Each running deployment is
a service process of its own, with the environment that was current when it was built.

    config ─► __main__ ─► api ─► endpoints ─► operations ─► state (rules, pure)
                     └──► router ──────────────────┴─────► processes ─► logs

It follows the vendor's documented behaviour, its official client's expectations, and nothing else. What is the
stand-in's own (a control path for tests) lives below `/stand-in/` and is described in `gate`. It must never be needed
by production code: only the drill starts it.
"""
