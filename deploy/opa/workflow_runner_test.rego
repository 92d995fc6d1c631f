package workflow_runner.authz_test

import data.workflow_runner.authz
import rego.v1

# Callers.

with_roles(roles) := {"id": "ada", "anonymous": false, "claims": {"workspaces": roles}}

with_claims(claims) := {"id": "ada", "anonymous": false, "claims": claims}

stranger := with_roles({"elsewhere": "owner"})

operator := with_claims({"realm_access": {"roles": ["workflow-runner-operator"]}})

ingestion := with_claims({"workflow_runner_service": "ingestion"})

anonymous := {"id": "anonymous", "anonymous": true, "claims": {}}

# Questions about the workspace `w`.

ask(subject, action, resource) := {
	"subject": subject,
	"action": action,
	"workspace": "w",
	"resource": resource,
}

process(visibility) := {
	"type": "process",
	"id": "p",
	"found": true,
	"visibility": visibility,
	"shared_workspaces": [],
	"shared_groups": [],
	"owner": "grace",
	"mutable": true,
}

no_process := {"type": "process", "id": "p", "found": false}

job(calling_workspace, owner, visibility) := {
	"type": "job",
	"id": "j",
	"found": true,
	"calling_workspace": calling_workspace,
	"owner": owner,
	"visibility": visibility,
}

no_job := {"type": "job", "id": "j", "found": false}

at_workspace := {"type": "workspace", "id": "w", "found": true}

# Roles.

test_a_viewer_reads_a_private_process if {
	d := authz.decision with input as ask(with_roles({"w": "viewer"}), "process.read", process("private"))
	d == {"allow": true, "reason": "role", "hidden": false, "calling_workspace": "", "filter": null}
}

test_a_viewer_does_not_execute if {
	d := authz.decision with input as ask(with_roles({"w": "viewer"}), "process.execute", process("private"))
	d.allow == false
	d.reason == "role_too_low"
	d.hidden == false
}

test_an_executor_executes_in_the_own_workspace if {
	d := authz.decision with input as ask(with_roles({"w": "executor"}), "process.execute", process("private"))
	d.allow == true
	d.calling_workspace == "w"
}

test_an_executor_does_not_deploy if {
	d := authz.decision with input as ask(with_roles({"w": "executor"}), "process.deploy", at_workspace)
	d.allow == false
	d.reason == "role_too_low"
}

test_a_developer_deploys_replaces_undeploys_and_shares if {
	every action in ["process.deploy", "process.replace", "process.undeploy", "process.share"] {
		d := authz.decision with input as ask(with_roles({"w": "developer"}), action, process("private"))
		d.allow == true
	}
}

test_an_unknown_role_is_no_role if {
	d := authz.decision with input as ask(with_roles({"w": "emperor"}), "workspace.read", at_workspace)
	d.allow == false
	d.reason == "not_a_member"
}

test_a_role_counts_only_in_its_workspace if {
	d := authz.decision with input as ask(stranger, "process.deploy", at_workspace)
	d.allow == false
	d.reason == "not_a_member"
}

test_a_listed_workspace_gives_the_member_role if {
	d := authz.decision with input as ask(with_claims({"workspaces": ["w"]}), "process.execute", process("private"))
	d.allow == true
	e := authz.decision with input as ask(with_claims({"workspaces": ["w"]}), "process.deploy", at_workspace)
	e.allow == false
}

test_the_member_role_is_data if {
	d := authz.decision with input as ask(with_claims({"workspaces": ["w"]}), "process.deploy", at_workspace)
		with data.workflow_runner_config.member_role as "developer"
	d.allow == true
}

test_an_owned_workspace_gives_the_owner_role if {
	d := authz.decision with input as ask(with_claims({"workspaces-owned": ["w"]}), "process.deploy", at_workspace)
	d.allow == true
}

test_a_group_path_gives_its_role if {
	d := authz.decision with input as ask(with_claims({"groups": ["/workspaces/w/developer"]}), "process.deploy", at_workspace)
	d.allow == true
	e := authz.decision with input as ask(with_claims({"groups": ["/workspaces/w/viewer"]}), "process.deploy", at_workspace)
	e.allow == false
	f := authz.decision with input as ask(with_claims({"groups": ["/workspaces/w"]}), "workspace.read", at_workspace)
	f.allow == false
}

test_the_highest_of_several_roles_counts if {
	claims := {"workspaces": {"w": "viewer"}, "groups": ["/workspaces/w/developer"]}
	d := authz.decision with input as ask(with_claims(claims), "process.deploy", at_workspace)
	d.allow == true
}

# The operator and services.

test_the_operator_reads_everything if {
	d := authz.decision with input as ask(operator, "job.logs", job("other", "grace", "private"))
	d.allow == true
	d.reason == "operator"
	e := authz.decision with input as ask(operator, "process.list", at_workspace)
	e.filter.everything == true
}

test_the_operator_dismisses if {
	d := authz.decision with input as ask(operator, "job.dismiss", job("other", "grace", "private"))
	d.allow == true
}

test_the_operator_neither_executes_nor_deploys if {
	d := authz.decision with input as ask(operator, "process.execute", process("private"))
	d.allow == false
	d.hidden == false
	e := authz.decision with input as ask(operator, "process.deploy", at_workspace)
	e.allow == false
}

test_ingestion_deploys_everywhere_and_does_nothing_else if {
	d := authz.decision with input as ask(ingestion, "process.deploy", at_workspace)
	d.allow == true
	d.reason == "service"
	e := authz.decision with input as ask(ingestion, "process.execute", process("private"))
	e.allow == false
	f := authz.decision with input as ask(ingestion, "job.read", job("w", "grace", "private"))
	f.allow == false
}

test_an_unknown_service_may_do_nothing if {
	d := authz.decision with input as ask(with_claims({"workflow_runner_service": "other"}), "process.deploy", at_workspace)
	d.allow == false
}

# Visibility of processes.

test_a_private_process_is_hidden_from_strangers if {
	d := authz.decision with input as ask(stranger, "process.read", process("private"))
	d.allow == false
	d.reason == "not_shared"
	d.hidden == true
}

test_a_missing_process_is_refused_like_a_private_one if {
	every action in ["process.read", "package.read", "process.execute", "process.replace", "process.undeploy", "process.share"] {
		d := authz.decision with input as ask(stranger, action, process("private"))
		e := authz.decision with input as ask(stranger, action, no_process)
		d == e
	}
}

test_a_member_may_learn_that_a_process_is_missing if {
	d := authz.decision with input as ask(with_roles({"w": "viewer"}), "process.read", no_process)
	d.allow == true
}

test_a_public_process_is_read_and_executed_by_strangers if {
	d := authz.decision with input as ask(stranger, "process.read", process("public"))
	d.allow == true
	d.reason == "public"
	e := authz.decision with input as ask(stranger, "package.read", process("public"))
	e.allow == true
	f := authz.decision with input as ask(stranger, "process.execute", process("public"))
	f.allow == true
	f.calling_workspace == "elsewhere"
}

test_a_public_process_is_not_changed_by_strangers if {
	d := authz.decision with input as ask(stranger, "process.undeploy", process("public"))
	d.allow == false
	d.reason == "not_a_member"
	d.hidden == false
}

test_a_shared_process_is_for_its_workspaces if {
	shared := object.union(process("shared"), {"shared_workspaces": ["elsewhere"]})
	d := authz.decision with input as ask(stranger, "process.execute", shared)
	d.allow == true
	d.reason == "shared"
	e := authz.decision with input as ask(with_roles({"third": "owner"}), "process.execute", shared)
	e.allow == false
	e.hidden == true
}

test_a_shared_process_is_for_its_groups if {
	shared := object.union(process("shared"), {"shared_groups": ["/floods"]})
	d := authz.decision with input as ask(with_claims({"groups": ["/floods"]}), "process.read", shared)
	d.allow == true
	e := authz.decision with input as ask(with_claims({"groups": ["/fires"]}), "process.read", shared)
	e.allow == false
}

test_shares_of_a_private_process_do_not_count if {
	formerly := object.union(process("private"), {"shared_workspaces": ["elsewhere"]})
	d := authz.decision with input as ask(stranger, "process.read", formerly)
	d.allow == false
}

test_a_user_service_is_executed_but_not_shown if {
	d := authz.decision with input as ask(stranger, "process.execute", process("user-service"))
	d.allow == true
	d.reason == "user_service"
	e := authz.decision with input as ask(stranger, "package.read", process("user-service"))
	e.allow == false
	e.hidden == false
}

test_an_immutable_process_is_not_changed if {
	builtin := object.union(process("public"), {"mutable": false})
	d := authz.decision with input as ask(with_roles({"w": "owner"}), "process.undeploy", builtin)
	d.allow == false
	d.reason == "immutable_process"
	e := authz.decision with input as ask(ingestion, "process.replace", builtin)
	e.allow == false
	f := authz.decision with input as ask(stranger, "process.replace", builtin)
	f.reason == "immutable_process"
	g := authz.decision with input as ask(stranger, "process.replace", object.union(builtin, {"visibility": "private"}))
	g.hidden == true
	h := authz.decision with input as ask(with_roles({"w": "viewer"}), "process.undeploy", builtin)
	h.reason == "immutable_process"
}

# The calling workspace.

test_the_active_workspace_calls if {
	claims := {"workspaces": {"w": "executor", "mine": "executor"}, "workspace": "mine"}
	d := authz.decision with input as ask(with_claims(claims), "process.execute", process("private"))
	d.allow == true
	d.calling_workspace == "mine"
}

test_an_active_workspace_without_a_role_there_calls_nothing if {
	claims := {"workspaces": {"w": "executor"}, "workspace": "foreign"}
	d := authz.decision with input as ask(with_claims(claims), "process.execute", process("private"))
	d.allow == false
	d.reason == "calling_role_too_low"
}

test_with_several_workspaces_a_stranger_has_to_choose if {
	d := authz.decision with input as ask(with_roles({"one": "owner", "two": "owner"}), "process.execute", process("public"))
	d.allow == false
	d.reason == "no_calling_workspace"
}

test_a_viewer_of_the_calling_workspace_does_not_execute if {
	d := authz.decision with input as ask(with_roles({"one": "viewer"}), "process.execute", process("public"))
	d.allow == false
	d.reason == "calling_role_too_low"
}

# Jobs.

test_viewers_of_the_calling_workspace_read_the_job if {
	every action in ["job.read", "job.watch", "job.logs", "job.results"] {
		d := authz.decision with input as ask(with_roles({"c": "viewer"}), action, job("c", "grace", "public"))
		d.allow == true
	}
}

test_viewers_of_the_deploying_workspace_do_not_see_the_job if {
	d := authz.decision with input as ask(with_roles({"w": "developer"}), "job.read", job("c", "grace", "public"))
	d.allow == false
	d.hidden == true
	d.reason == "not_a_member"
}

test_a_missing_job_is_refused_like_a_foreign_one if {
	every action in ["job.read", "job.watch", "job.logs", "job.results", "job.dismiss"] {
		every subject in [stranger, with_roles({"w": "owner"})] {
			d := authz.decision with input as ask(subject, action, job("c", "grace", "private"))
			e := authz.decision with input as ask(subject, action, no_job)
			d == e
			d.hidden == true
		}
	}
}

test_the_owner_of_a_job_reads_and_dismisses_it if {
	d := authz.decision with input as ask(with_claims({}), "job.read", job("c", "ada", "public"))
	d.allow == true
	d.reason == "job_owner"
	e := authz.decision with input as ask(with_claims({}), "job.dismiss", job("c", "ada", "public"))
	e.allow == true
}

test_a_token_for_one_workspace_does_not_open_the_own_jobs_of_another if {
	scoped := with_claims({"workspaces": {"c": "owner"}, "workspace": "c"})
	d := authz.decision with input as ask(scoped, "job.read", job("other", "ada", "public"))
	d.allow == false
	d.hidden == true
	e := authz.decision with input as ask(scoped, "job.read", job("c", "ada", "public"))
	e.allow == true
	f := authz.decision with input as ask(with_claims({"workspace": "w", "workspaces": ["w"]}), "job.list", at_workspace)
	f.filter.subject == null
}

test_the_owner_of_a_user_service_reads_but_does_not_dismiss if {
	d := authz.decision with input as ask(with_roles({"w": "owner"}), "job.logs", job("c", "grace", "user-service"))
	d.allow == true
	d.reason == "service_owner"
	e := authz.decision with input as ask(with_roles({"w": "owner"}), "job.dismiss", job("c", "grace", "user-service"))
	e.allow == false
	e.reason == "role_too_low"
	e.hidden == false
}

test_a_developer_of_a_user_service_does_not_read_its_jobs if {
	d := authz.decision with input as ask(with_roles({"w": "developer"}), "job.logs", job("c", "grace", "user-service"))
	d.allow == false
}

test_a_viewer_reads_but_does_not_dismiss if {
	d := authz.decision with input as ask(with_roles({"c": "viewer"}), "job.dismiss", job("c", "grace", "private"))
	d.allow == false
	d.hidden == false
	e := authz.decision with input as ask(with_roles({"c": "executor"}), "job.dismiss", job("c", "grace", "private"))
	e.allow == true
}

# Ingestions.

test_developers_create_ingestions_and_viewers_read_them if {
	resource := {"type": "ingestion", "id": "i", "found": true}
	d := authz.decision with input as ask(with_roles({"w": "developer"}), "ingestion.create", at_workspace)
	d.allow == true
	e := authz.decision with input as ask(with_roles({"w": "executor"}), "ingestion.create", at_workspace)
	e.allow == false
	f := authz.decision with input as ask(with_roles({"w": "viewer"}), "ingestion.read", resource)
	f.allow == true
	g := authz.decision with input as ask(stranger, "ingestion.read", resource)
	g.allow == false
	g.hidden == true
}

# Lists.

test_the_process_list_of_a_member if {
	claims := {"workspaces": {"w": "viewer", "mine": "owner"}, "groups": ["/floods", "/workspaces/third/viewer"]}
	d := authz.decision with input as ask(with_claims(claims), "process.list", at_workspace)
	d.allow == true
	d.filter == {
		"everything": false,
		"workspaces": {"w", "mine", "third"},
		"subject": null,
		"visibilities": ["public", "user-service"],
		"groups": ["/floods", "/workspaces/third/viewer"],
	}
}

test_a_stranger_lists_processes_but_no_jobs if {
	d := authz.decision with input as ask(stranger, "process.list", at_workspace)
	d.allow == true
	d.filter.workspaces == {"elsewhere"}
	e := authz.decision with input as ask(stranger, "job.list", at_workspace)
	e.allow == false
	e.reason == "not_a_member"
}

test_the_job_list_of_a_member if {
	d := authz.decision with input as ask(with_roles({"w": "viewer"}), "job.list", at_workspace)
	d.filter == {"everything": false, "workspaces": {"w"}, "subject": "ada", "visibilities": [], "groups": []}
}

test_the_job_list_of_an_owner_has_the_jobs_on_user_services if {
	d := authz.decision with input as ask(with_roles({"w": "owner"}), "job.list", at_workspace)
	d.filter.visibilities == ["user-service"]
}

# Callers without a token.

test_anonymous_callers_may_do_nothing if {
	every action, _ in data.workflow_runner_config.actions {
		d := authz.decision with input as ask(anonymous, action, object.union(process("public"), {"type": kind(action)}))
		d.allow == false
		d.reason == "anonymous"
		d.hidden == false
	}
}

kind(action) := "job" if {
	startswith(action, "job.")
} else := "ingestion" if {
	startswith(action, "ingestion.")
} else := "process"

test_an_opened_workspace_is_open_to_anonymous_callers if {
	d := authz.decision with input as ask(anonymous, "process.deploy", at_workspace)
		with data.workflow_runner_config.anonymous as {"w": "developer"}
	d.allow == true
	e := authz.decision with input as ask(anonymous, "process.execute", process("private"))
		with data.workflow_runner_config.anonymous as {"w": "developer"}
	e.allow == true
	e.calling_workspace == "w"
	f := authz.decision with input as ask(anonymous, "job.list", at_workspace)
		with data.workflow_runner_config.anonymous as {"w": "developer"}
	f.filter == {"everything": false, "workspaces": {"w"}, "subject": null, "visibilities": [], "groups": []}
}

test_an_opened_workspace_opens_no_other if {
	d := authz.decision with input as ask(anonymous, "process.deploy", at_workspace)
		with data.workflow_runner_config.anonymous as {"other": "developer"}
	d.allow == false
}

test_claims_of_anonymous_callers_are_not_believed if {
	liar := {"id": "anonymous", "anonymous": true, "claims": {"workspaces": {"w": "owner"}, "realm_access": {"roles": ["workflow-runner-operator"]}, "workflow_runner_service": "ingestion"}}
	d := authz.decision with input as ask(liar, "process.deploy", at_workspace)
	d.allow == false
	e := authz.decision with input as ask(liar, "process.list", at_workspace)
	e.allow == false
}

test_anonymous_callers_do_not_own_each_others_jobs if {
	d := authz.decision with input as ask(anonymous, "job.read", job("c", "anonymous", "private"))
		with data.workflow_runner_config.anonymous as {"w": "developer"}
	d.allow == false
}

# Input of another shape.

test_an_unknown_action_is_refused if {
	d := authz.decision with input as ask(with_roles({"w": "owner"}), "process.bless", process("private"))
	d.allow == false
	d.reason == "unknown_action"
}

test_nothing_is_allowed_on_no_input if {
	d := authz.decision with input as {}
	d == {"allow": false, "reason": "invalid_input", "hidden": false, "calling_workspace": "", "filter": null}
}

test_a_workspace_has_to_be_a_text if {
	question := object.union(ask(with_claims({"workspaces": [["w"]]}), "workspace.read", at_workspace), {"workspace": ["w"]})
	d := authz.decision with input as question
	d.allow == false
	d.reason == "invalid_input"
}

test_the_type_of_the_resource_has_to_fit_the_action if {
	d := authz.decision with input as ask(with_roles({"w": "owner"}), "process.read", job("w", "ada", "public"))
	d.allow == false
	d.reason == "invalid_input"
}

test_a_missing_workspace_of_a_job_matches_no_claim if {
	d := authz.decision with input as ask(with_claims({"workspaces": [null, ""]}), "job.read", job(null, "grace", "private"))
	d.allow == false
	e := authz.decision with input as ask(with_claims({"workspaces": [null, ""]}), "job.read", job("", "grace", "private"))
	e.allow == false
}

test_without_data_nothing_is_allowed if {
	d := authz.decision with input as ask(with_roles({"w": "owner"}), "process.read", process("public"))
		with data.workflow_runner_config as {}
	d.allow == false
	d.reason == "unknown_action"
}
