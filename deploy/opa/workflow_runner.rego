# Who may do what with processes, jobs and ingestions.
#
# The services ask for `decision`, one document for every call. Everything is denied
# unless a `grant` below says otherwise; each rule has a default, so the answer is
# complete whatever the input is. README.md beside this file describes the input.
#
# Written in the part of Rego that OPA and the embedded engine decide alike: no io.jwt,
# no http.send, no `with` outside the tests, and look-ups by key instead of searches.
package workflow_runner.authz

import data.workflow_runner_config as config
import rego.v1

default decision := {
	"allow": false,
	"reason": "denied",
	"hidden": false,
	"calling_workspace": "",
	"filter": null,
}

decision := {
	"allow": allow,
	"reason": reason,
	"hidden": hidden,
	"calling_workspace": recorded_workspace,
	"filter": filter,
}

default allow := false

allow if grant != ""

default reason := "denied"

reason := grant if {
	allow
} else := refusal

# Which actions are about one existing object, and of which type.

process_actions := {
	"process.read": true,
	"package.read": true,
	"process.execute": true,
	"process.replace": true,
	"process.undeploy": true,
	"process.share": true,
}

changing_actions := {
	"process.replace": true,
	"process.undeploy": true,
	"process.share": true,
}

job_actions := {
	"job.read": true,
	"job.watch": true,
	"job.logs": true,
	"job.results": true,
	"job.dismiss": true,
}

default object_type := ""

object_type := "process" if {
	process_actions[input.action]
} else := "job" if {
	job_actions[input.action]
} else := "ingestion" if {
	input.action == "ingestion.read"
}

# The input, taken only in the shape that is documented.

default valid := false

valid if {
	is_string(input.action)
	is_string(input.workspace)
	input.workspace != ""
	is_string(input.subject.id)
	input.subject.id != ""
	is_boolean(input.subject.anonymous)
	is_object(input.subject.claims)
	is_object(input.resource)
	valid_type
}

default valid_type := false

valid_type if object_type == ""

valid_type if {
	object_type != ""
	input.resource.type == object_type
}

default authenticated := false

authenticated if input.subject.anonymous == false

default claimed_roles := {}

claimed_roles := input.subject.claims.workspaces if {
	authenticated
	is_object(input.subject.claims.workspaces)
}

default memberships := []

memberships := input.subject.claims.workspaces if {
	authenticated
	is_array(input.subject.claims.workspaces)
}

default owned := []

owned := input.subject.claims["workspaces-owned"] if {
	authenticated
	is_array(input.subject.claims["workspaces-owned"])
}

default groups := []

groups := input.subject.claims.groups if {
	authenticated
	is_array(input.subject.claims.groups)
}

default active_workspace := ""

active_workspace := input.subject.claims.workspace if {
	authenticated
	is_string(input.subject.claims.workspace)
}

default realm_roles := []

realm_roles := input.subject.claims.realm_access.roles if {
	authenticated
	is_array(input.subject.claims.realm_access.roles)
}

default operator := false

operator if config.operator.realm_role in realm_roles

default service := ""

service := input.subject.claims.workflow_runner_service if {
	authenticated
	is_string(input.subject.claims.workflow_runner_service)
}

# The rank of the subject in a workspace: the highest that any source grants, 0 for none.
# The sources are comprehensions because those are total: a function whose body meets an
# undefined value is undefined in the embedded engine even where it has a default.

rank_in(workspace) := max({0} | {level |
	is_string(workspace) # a fact may be null or missing
	workspace != ""
	some level in granted_ranks(workspace)
	is_number(level)
})

granted_ranks(workspace) := ((claimed_rank(workspace) | member_rank(workspace)) | owner_rank(workspace)) | (group_ranks(workspace) | open_rank(workspace))

claimed_rank(workspace) := {level | level := config.roles[claimed_roles[workspace]]}

member_rank(workspace) := {level |
	workspace in memberships
	level := config.roles[config.member_role]
}

owner_rank(workspace) := {level |
	workspace in owned
	level := config.roles.owner
}

group_ranks(workspace) := {level |
	some segment, name in config.group_roles
	concat("/", ["/workspaces", workspace, segment]) in groups
	level := config.roles[name]
}

open_rank(workspace) := {level | level := config.roles[config.anonymous[workspace]]}

default rank := 0

rank := rank_in(input.workspace)

# The rank that the action asks for; without one the action is unknown.

default needed := 0

needed := config.roles[config.actions[input.action]]

default known_action := false

known_action if {
	is_number(needed)
	needed > 0
}

default enough := false

enough if {
	known_action
	rank >= needed
}

# All workspaces of the subject. Evaluated only for lists and for a caller whose
# workspace is not told otherwise; bounded by the size of the claims.

workspaces_claimed contains workspace if {
	some workspace, name in claimed_roles
	config.roles[name] > 0
}

workspaces_member contains workspace if {
	config.roles[config.member_role] > 0
	some workspace in memberships
	is_string(workspace)
}

workspaces_owned contains workspace if {
	some workspace in owned
	is_string(workspace)
}

workspaces_by_group contains workspace if {
	some group in groups
	is_string(group)
	startswith(group, "/workspaces/")
	parts := split(group, "/")
	count(parts) == 4
	workspace := parts[2]
	config.roles[config.group_roles[parts[3]]] > 0
}

default own_workspaces := set()

own_workspaces := ((workspaces_claimed | workspaces_member) | workspaces_owned) | workspaces_by_group

# The workspace on whose behalf a process is executed: it sees the job and takes its outputs.

default calling_workspace := ""

calling_workspace := active_workspace if {
	active_workspace != ""
} else := input.workspace if {
	rank > 0
} else := workspace if {
	count(own_workspaces) == 1
	some workspace in own_workspaces
}

default calling_rank := 0

calling_rank := rank_in(calling_workspace) if calling_workspace != ""

# How the object can be read, "" if it cannot. An object that is not there counts as
# private: neither the decision nor its reason tells the two apart.

default found := false

found if input.resource.found == true

default visibility := "private"

visibility := input.resource.visibility if {
	found
	is_string(input.resource.visibility)
}

default shared_with_subject := false

shared_with_subject if {
	is_array(input.resource.shared_workspaces)
	some workspace in own_workspaces
	workspace in input.resource.shared_workspaces
}

shared_with_subject if {
	is_array(input.resource.shared_groups)
	some group in groups
	is_string(group)
	group in input.resource.shared_groups
}

default process_readable := ""

process_readable := "role" if {
	rank >= config.roles.viewer
} else := "public" if {
	authenticated
	visibility == "public"
} else := "user_service" if {
	authenticated
	visibility == "user-service"
} else := "shared" if {
	authenticated
	visibility == "shared"
	shared_with_subject
}

default job_owner := false

# All anonymous callers have one name, so a name proves nothing about them.
job_owner if {
	authenticated
	found
	input.resource.owner == input.subject.id
	token_reaches_job
}

# A token that is for one workspace does not open what its bearer owns in another one.

default token_is_for_any_workspace := false

token_is_for_any_workspace if active_workspace == ""

default token_reaches_job := false

token_reaches_job if token_is_for_any_workspace

token_reaches_job if input.resource.calling_workspace == active_workspace

default job_rank := 0

job_rank := rank_in(input.resource.calling_workspace) if found

default job_readable := ""

job_readable := "role" if {
	job_rank >= config.roles.viewer
} else := "job_owner" if {
	job_owner
} else := "service_owner" if {
	visibility == "user-service"
	rank >= config.roles.owner
}

default readable := ""

readable := process_readable if {
	object_type == "process"
} else := job_readable if {
	object_type == "job"
} else := "role" if {
	object_type == "ingestion"
	rank >= config.roles.viewer
}

# What allows the call, "" if nothing does.

default grant := ""

grant := granted if {
	valid
	known_action
	not unchangeable
}

default granted := ""

granted := "operator" if {
	operator
	config.operator.actions[input.action] == true
} else := "service" if {
	config.services[service][input.action] == true
} else := "role" if {
	object_type == ""
	enough
} else := "authenticated" if {
	object_type == ""
	authenticated
	config.stranger_actions[input.action] == true
} else := "role" if {
	object_type == "ingestion"
	enough
} else := "role" if {
	changing_actions[input.action]
	enough
} else := readable if {
	input.action == "process.read"
	readable != ""
	enough_to_read
} else := readable if {
	# A user service is executed for others without showing them how it is made.
	input.action == "package.read"
	readable != ""
	readable != "user_service"
	enough_to_read
} else := readable if {
	input.action == "process.execute"
	readable != ""
	calling_rank >= needed
} else := "role" if {
	object_type == "job"
	job_rank >= needed
} else := "job_owner" if {
	object_type == "job"
	job_owner
} else := "service_owner" if {
	object_type == "job"
	readable == "service_owner"
	input.action != "job.dismiss"
}

default enough_to_read := true

# Members are held to the role that the action asks for; others came by visibility.
enough_to_read := enough if readable == "role"

default unchangeable := false

unchangeable if {
	changing_actions[input.action]
	found
	not input.resource.mutable == true
}

# Whether the subject may learn that the object exists.

default known_to_subject := false

known_to_subject if readable != ""

known_to_subject if operator

# Why the call is refused.

default refusal := "denied"

refusal := "invalid_input" if {
	not valid
} else := "unknown_action" if {
	not known_action
} else := "anonymous" if {
	not authenticated
	rank == 0
} else := "immutable_process" if {
	unchangeable
	granted != ""
} else := "immutable_process" if {
	# No role changes that, so whoever may know of the process hears it.
	unchangeable
	known_to_subject
} else := "not_shared" if {
	object_type == "process"
	not known_to_subject
} else := "not_a_member" if {
	object_type != ""
	not known_to_subject
} else := "no_calling_workspace" if {
	input.action == "process.execute"
	calling_workspace == ""
} else := "calling_role_too_low" if {
	input.action == "process.execute"
	calling_workspace != input.workspace
} else := "role_too_low" if {
	rank > 0
} else := "role_too_low" if {
	object_type == "job"
} else := "not_a_member"

# A refusal that has to read as if the object did not exist.

default hidden := false

hidden if {
	not allow
	valid
	known_action
	object_type != ""
	not known_to_subject
	refusal != "anonymous"
}

default recorded_workspace := ""

recorded_workspace := calling_workspace if {
	allow
	input.action == "process.execute"
}

# What a list shows. A row is listed if any of the conditions holds for it.

default filter := null

filter := {
	"everything": true,
	"workspaces": [],
	"subject": null,
	"visibilities": [],
	"groups": [],
} if {
	list_action
	allow
	operator
} else := {
	"everything": false,
	"workspaces": listed_workspaces,
	"subject": listed_subject,
	"visibilities": listed_visibilities,
	"groups": listed_groups,
} if {
	list_action
	allow
}

default list_action := false

list_action if input.action in {"process.list", "job.list", "ingestion.list"}

default path_workspace := set()

path_workspace := {input.workspace} if rank > 0

listed_workspaces := own_workspaces | path_workspace

default listed_subject := null

listed_subject := input.subject.id if {
	authenticated
	token_is_for_any_workspace
	input.action == "job.list"
}

default listed_visibilities := []

listed_visibilities := ["public", "user-service"] if {
	authenticated
	input.action == "process.list"
} else := ["user-service"] if {
	input.action == "job.list"
	rank >= config.roles.owner
}

default listed_groups := []

listed_groups := [group | some group in groups; is_string(group)] if input.action == "process.list"
