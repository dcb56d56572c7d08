"""Findings: what is worth changing in how an application does its I/O, by rules, with the figures that say so.

A rule is data (`rule`): what it is about, when it holds, what to do, and what would disprove it. `rules` has them all,
`engine` applies them to profiles.
"""
