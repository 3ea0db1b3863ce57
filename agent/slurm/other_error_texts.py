"""The texts of Slurm's library that answer no submission in any version that was read (22.05, 24.11, 26.05).

They are about steps, reservations, the database, slurmd, REST. Who gives one to sbatch all the same (a site's plugin
may return any number) has not made a job: agent/slurm/errors.py takes them as ATTENTION of error_texts.py.
"""

__all__ = ["OTHER"]

OTHER = tuple(
    """
I/O stream version number error
Invalid MPI plugin name
MPI plugin's pre-launch setup failed
Invalid job id specified
Core count for reservation node list is not consistent!
Job/step already completing or completed
Job is pending execution
Invalid node state specified
AuthType change requires restart of all Slurm daemons and commands to take effect
CredType change requires restart of all Slurm daemons to take effect
SchedulerType change requires restart of the slurmctld daemon to take effect
SelectType change requires restart of the slurmctld daemon to take effect
SwitchType change requires restart of all Slurm daemons and jobs to take effect
Invalid parent account specified
Account already child of parent account specified
Requested reservation overlaps with another reservation
Invalid block state specified
Functionality not available with current block layout mode
Invalid block name specified
Job is no longer pending execution
Partition is in use
Step limit reached for this job
Job is current suspended, requested operation disabled
Reservation request lacks users, groups or accounts
Duplicate reservation name
Job has already started
Job has already finished
Job is not running
Job is not pending nor running
Job is not suspended
Job is not finished
Duplicate event trigger
BurstBufferType change requires restart of slurmctld daemon to take effect
Changes to job priority are not persistent, change nice instead
Cannot modify scrontab jobs through scontrol
Reservation already started
Job not heterogeneous job
Job not heterogeneous job leader
Operation not permitted on individual component of heterogeneous job
Core-based reservation can not be updated
Duplicate job step id
Invalid TRESBillingWeights specification
ConfigLess mode is disabled in slurm configuration.
Reservation given is not skipable, try deleting instead
Reservations can't have users and groups specified, only one or the other
Generic error
Bad argument
Not in task context
Environment variable exists
No such environment variable
Buffer too small
Valid only in remote context
Id/PID does not exist on this node
Lookup by PID requested, but no tasks running
Item not available from this callback
Valid only in local or allocator context
Pipe error on task spawn
Kill task failed
Invalid accounting frequency requested
Invalid job credential
Job credential revoked
Job credential expired
Job credential replayed
Slurmd could not create a batch directory or file
Slurmd could not chown or chmod a batch directory
Slurmd could not create a batch script
Slurmd could not chown or chmod a batch script
Slurmd could not set up environment for batch job
Slurmd shared memory error
Slurmd could not set UID or GID
Slurmd could not set session ID
Slurmd could not spawn I/O thread
Slurmd could not fork job
Slurmd could not execve job
Slurmd could not connect IO
Job prolog failed
Job epilog failed
Session manager killed
Too many job steps on node
Job step already exists
Job step not running
Job step is suspended
Job step is not currently suspended
Unix socket name exceeded maximum length
Container runtime not configured or invalid
Unable to satisfy cpu bind request
Unable to layout tasks on given cpus
unable to change directory to work directory
could not open output file
Script terminated with non-zero exit code
Job(s) active, cancel job(s) before remove
Cluster deleted, commit/rollback immediately
Can only change one at a time
Unacceptable name given. (No '.' in name allowed)
You can not allocate more than 100% of a resource
Query result exceeds size limit
Too wide of a date range in query
Usage rollup or archive in progress, retry later
You can not remove the default account of a user
Too many clusters in federation
Clusters can only be assigned to one federation
Query empty or not RFC7320 compliant
Failure during parsing
Jobs description entry not found, empty or not dictionary or list
Nothing found with query
Unable to resolve path
Data pointer is NULL
Unable to convert Data type
Unable to compile regex
MIME type is unknown to any loaded plugins
DATA too large to handle
Data too large to handle
Unable to takeover, heartbeat file is missing
JobContainerType change requires restart of all Slurm daemons and commands to take effect
Cannot cancel scrontab jobs without --cron flag.
JobID must not be an empty string
JobID can not be zero
JobID can not be a negative number
JobID larger than acceptable range
JobID includes unexpected non-numeric characters
Job Array ID must not be an empty string
Job Array ID can not be a negative number
Job Array ID larger than acceptable range
Job Array ID includes unexpected non-numeric characters
HetJob component must not be an empty string
HetJob component can not be a negative number
HetJob component larger than acceptable range
StepID must not be an empty string
StepID can not be a negative number
StepID larger than acceptable range
StepID includes unexpected non-numeric characters
HetStep component must not be an empty string
HetStep component can not be zero
HetStep component can not be a negative number
HetStep component larger than acceptable range
HetStep component includes unexpected non-numeric characters
HetJob can not Het step id
Job killed due hitting max wall clock limit
Job killed due node failure
Empty list
Node already exists in the node table
Unable to add node, node table is full
Cannot signal job
Invalid signal jobs request, at least one job id or filter is required.
There is something internally wrong with the SQL needed for this. Please consult the slurmdbd log fo
This request would make it so some associations would not have access to their default qos.
Coordinators can not increase job limits beyond the parent ones
Missing UNIX user in the system
Missing UNIX group in the system
Data parser expects flags to be a list
Data parser unable to parse invalid flag
Data parser expected a list
Data parser expected a dictionary or object
Request matched more than one object to modify. Modifications must only apply to a single object. Tr
Request matched more than one object to query. Request is limited to query of a single matching obje
Request to parse empty string rejected
Invalid parser requested
Parsing tree too deep. Possible cyclic parsing detected
Parser went into an invalid state. Possible library issue.
Requested operation requires extern step
No running or pending steps in the job
NamespaceType change requires restart of all Slurm daemons and commands to take effect
Invalid node state transition
Invalid job state
SLUID is invalid
Invalid power action
Step queued as pending
Spank plugin failure, node failed
Spank plugin failure, job failed
Unable to proxy slurmstepd message
No RPC stats are available
Invalid value for Allowed field when SharedPool enabled, must be 0 or 100% (without Absolute) or Cou
Unable to find requested URL endpoint. Please query the '/openapi/v3' endpoint or visit 'https://slu
Requested HTTP query method is not supported at URL endpoint. Please query the '/openapi/v3' endpoin
Authentication failure
Query requirements not met
Request to parse invalid data
Unknown URL scheme
URL string is empty
Invalid non-NULL terminated URL
Invalid format for URL format
Invalid or unknown URL scheme
URL scheme not supported
Invalid or unknown URL host
Invalid or unknown URL port
Invalid or unknown URL path
Invalid or unknown URL query
Invalid or unknown URL fragment
URL format not supported
Invalid empty HTTP header
Unspecified error during HTTP parsing
Unexpected duplicate URL
Invalid HTTP status code
Invalid HTTP method
Missing an expected LF character
Unexpected character added or missing in HTTP
Unexpected character or unparsable number in HTTP Content-Length header
Invalid HTTP Tranfser-Encoding header
HTTP Chunked Transfer-Encoding not supported
Received unexpected HTTP Request
Only HTTP version 1.1 requests are supported
HTTP protocol upgrading is not supported.
Invalid or unsupported HTTP Content-Encoding header
Invalid or unsupported HTTP Keep-Alive header
HTTP Content-Length header too large to process
HTTP Content-Length header required for POST method requests
Unexpected HTTP body provided when URL Query provided
HTTP Accept header content type is unknown or unsupported
Missing an expected CR character
""".strip().splitlines()
)
