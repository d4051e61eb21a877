"""AWS on this computer, for tests of deploys: what it is asked to run, it really runs.

`entering` is the door; all else happens in a program of its own (`server`), so that what is done to moto is done to
nobody else's moto, and so that nothing stays behind when the test that entered is killed.

It can't show what only AWS has: permissions (nothing is ever refused for a role's sake), quotas, cold starts' length,
networks and image pulls. A function has the file system of this computer but for its own /tmp and its read-only code,
and only as root; its memory is looked at every few hundredths of a second, and what is over its limit is killed.
"""

from dagy.testing.local_aws.entering import FunctionStats, LocalAws, local_aws

__all__ = ["FunctionStats", "LocalAws", "local_aws"]
