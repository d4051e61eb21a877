"""What moto 5.2.5 does not do, or does wrongly, put right: one module a service, put in place when it is first used.

Everything is written against that one version, whose inner parts are replaced; the version is checked at the door.
"""
