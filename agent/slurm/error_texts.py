"""The texts of Slurm's library (slurm_errno.c, 22.05, 24.11 and 26.05) that may answer a submission, by their meaning.

What decides by them: agent/slurm/errors.py. The library's other texts: other_error_texts.py. A test reads the installed
library's table and fails if a text of it is in neither. A text of more than 100 characters is cut to so many.
"""

__all__ = ["ATTENTION", "PERMANENT", "TRANSIENT", "UNANSWERED", "VIOLATES_LIMIT"]


def _split(block: str) -> tuple[str, ...]:
    return tuple(block.strip().splitlines())


# Trouble of communication behind the connection: the request may have been accepted, and nobody here can know.
UNANSWERED = _split(
    """
No error
Operation now in progress
Unexpected message received
Message send failure
Message receive failure
Communication shutdown failure
Insane message length
Unexpected missing socket error
Unable to contact slurm controller (send failure)
Unable to contact slurm controller (receive failure)
Unable to contact slurm controller (shutdown failure)
Received zero length message
Received message length < 0
Failed to send entire message
Header lengths are longer than data received
Socket timed out on send/recv operation
Zero Bytes were transmitted or received
Unable to process incoming file descriptor
Unable to process outgoing file descriptor
Unable to process incoming and outgoing file descriptors
Read would block
Write would block
Connection rejected by handler
Connection forced closed by quiesce timeout
Connection timed out writing
Connection timed out reading
"""
)

# Surely no job. It passes by itself: slurmctld is away or busy, nodes are down, a credential was not accepted.
TRANSIENT = _split(
    """
Communication connection failure
Protocol authentication error
Unable to contact slurm controller (connect failure)
Unable to create job record, try again
Immediate execution impossible, insufficient priority
Requested nodes are busy
I/O error writing script/environment to file
Job can not be altered now, try again later
Error configuring interconnect
Slurm backup controller in standby mode
Immediate execution impossible, resources too fragmented for allocation
Requested reservation is in use
Requested reservation not usable now
Required ports are in use
PrologSlurmctld is still running
Required node not available (down, drained or reserved)
Required partition not available (inactive or drain)
Job can not start immediately
Switch resources currently not available
Waiting for burst buffer
Partition in DOWN state
Job update not available right now, the DB index is being set, try again in a bit
System submissions disabled
Job can not start due to maintenance reservation.
Reboot already in progress
Immediate execution impossible. Individual job submission scheduling attempts deferred
Controller is in standby mode, try a different controller
Invalid authentication credential
Failed to connect to authentication agent
Memory management error
Authentication credential invalid
Cannot unpack credential
Unable to connect to database
Database connection reference is invalid
Job locked by another sibling
Rate limit exceeded, please retry momentarily
Rate limit exceeded, please retry later
Licenses currently unavailable
Max powered up nodes reached
Authentication credential expired
Connection timed out establishing
MaxJobCount limit reached
Required nodes lack available resources
No suitable topology unit found
No suitable topology unit found for segment
Insufficient resources in topology unit
No available nodes in topology
"""
)

# Surely no job. The line before it is Slurm's reason, and says which limit.
VIOLATES_LIMIT = _split(
    """
Job violates accounting/QOS policy
Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)
"""
)

# Surely no job, ever, for this request: what the task asked for does not exist here, or is not allowed.
PERMANENT = _split(
    """
Invalid partition name specified
No partition specified or system default partition
Access/permission denied
User's group not permitted to use this partition
Requested nodes not in this partition
More processors requested than permitted
Node count specification invalid
Job size specification needs to be provided
Requested node configuration is not available
Invalid node name specified
Task distribution specification invalid
Task count specification invalid
Invalid feature specification
Job dependency problem
Requested more tasks than available processors
Memory required by task is not available
Invalid account or account/partition combination specified
Invalid qos specification
Invalid license specification
Requested time limit is invalid (missing or exceeds some limit)
Access denied to requested reservation
Requested reservation is invalid
Invalid time specified
CPU count specification invalid
Circular job dependency
Invalid generic resource (gres) specification
Invalid job array specification
Duplicate generic resource (gres) specification
Job --batch option is invalid or not a subset of --constraints
Job --batch option is invalid or not a subset of --constraint
Invalid Trackable RESource (TRES) specification
Invalid GRES specification (with and without type identification)
Multiple KNL NUMA and/or MCDRAM constraints require use of a heterogeneous job
Requested GRES option unsupported by configured SelectType plugin
Invalid time-min specification (exceeds job's time or other limits)
Multiple partition job request not supported when a partition is set in the association
Cannot request more threads per core than the job allocation
Invalid preferred feature specification
Insufficient GRES available in allocation
Time limit specification required, but not provided
Invalid KNL configuration (MCDRAM or NUMA option)
Invalid extra constraints specification
Requested topology configuration is not available
Required nodes do not fit topology
Exceeded maximum node limit during topology allocation
"""
)

# Surely no job, and not the task's fault: our script or options, our account as Slurm sees it now, the cluster's own
# settings and plugins. Tried again, but a person should look.
ATTENTION = _split(
    """
Incompatible versions of client and server code
Plugin initialization failed
Can't find an address, check slurm.conf
Job script not specified
Invalid user id
Duplicate job id
Pathname of a file, directory or other parameter too long
Requested partition configuration not available now
Error generating job credential
Active features not subset of available features
Requested operation not supported on this system
Requested operation is presently disabled
Only batch jobs are accepted or processed
Current SwitchType does not permit arbitrary task distribution
Job is in held state, pending scheduler release
Invalid wckey specification
The node configuration changes that were made require restart of the slurmctld daemon to take effect
Requires more ports than can be reserved
Job steps can not be run on this cluster
QOS Preemption loop detected
Requested account has breached requested QOS usage threshold
Slurm internal error, contact system administrator
Burst Buffer permission denied
Burst Buffer resource limit exceeded
Burst Buffer request invalid
Invalid mcs_label specified
X11 forwarding not available
Invalid group id
Invalid JobDefaults specification
Invalid --nice value
Environment is missing in job
User not found on host
Group ID not found on host
Failed to open authentication public key
Bad argument to plugin function
Authentication does not apply to request
Invalid cluster feature specification
Not a valid federated job
Invalid cluster name
No eligible clusters for federated job
Plugin has invalid format or unable to be loaded
Plugin missing required symbol or function
Container support is not configured
Data has not changed since time specified
Job cannot be submitted without the current working directory specified.
Invalid container id specified
Invalid group ID
Unable to resolve group ID to group name
Invalid user ID
Unable to resolve user ID to user name
Invalid or unknown association
Invalid QOS specification, relative QOS can only be used in a single partition per cluster.
RestrictedCoresPerGPU: Not enough unique cores per GPU
RestrictedCoresPerGPU: Missing core topology for GPUs
RestrictedCoresPerGPU: No GPUs configured on node
Preemption is required but is disabled on this system
Token Generation failed.
Required plugin type not loaded or initialized
Plugin file not found
Plugin access denied
Dlopen of plugin file failed
Plugin init() callback failed
Plugin name/type/version symbol missing
Incompatible plugin version
Invalid configuration for external job
Weight-based selection could not satisfy request within topology unit
Rejecting authentication of user nobody or group nobody
Unable to query kernel for socket peer credential
Invalid or NULL Lua state pointer
Lua script loading failed due to invalid syntax
Requested Lua function not found
Lua function returned nil or table instead of numeric result
Lua function execution failed for unknown reasons
Lua function execution failed due to runtime error
Lua function execution failed due to memory allocation failure. Either not enough memory for Lua scr
Lua function execution failed due to unknown failure in Lua's garbage collector
Unknown or unparsable Lua type found at top of Lua stack
TLS missing but required for connection
"""
)
