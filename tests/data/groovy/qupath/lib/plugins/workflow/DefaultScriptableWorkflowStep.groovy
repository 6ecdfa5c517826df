package qupath.lib.plugins.workflow

class DefaultScriptableWorkflowStep {
    final String name, script
    final Map parameters

    DefaultScriptableWorkflowStep(String name, Map parameters, String script) {
        this.name = name
        this.parameters = parameters
        this.script = script
    }
}
