"""Moves every accepted job to its end, through stages that each have a queue, a pool and bounds of their own.

    waiting → staging → staged → launching → running → publishing → releasing
              stage.py           launch.py   observe.py publish.py   release.py

Each step may be repeated after a crash, by this process or another; the fence in every write tells who is too late.
What is slow for one job holds up no other, and whatever fails is bounded by count and time: every job ends.
"""
