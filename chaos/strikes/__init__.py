"""Plans carried out in a trial: armed, provoked where the load seldom passes their point, and counted when they strike.

It judges nothing, and decides on no plan.
"""
