// Asks a server for all that scripts ask for; arguments: state folder, root. Tells what came back, a line each.
def client = QpBridgeClient.connect(state: args[0])
def seen = []
def trained = client.watch(client.train(project: args[1], out: 'm', family: 'f', settings: [steps: '3']).id) { seen << it.state }
println "trained ${trained.state} ${trained.train.classes.join(',')} ${seen.last()}"

def endless = client.train(project: args[1], out: 'm', family: 'f', settings: [steps: '100000'])
try {
    client.watch(endless.id, { }, { true })
} catch (QpBridgeClient.Failure error) {
    println "cancelled ${error.reason} ${client.job(endless.id).state}"
}

def predicted = client.watch(client.predict(project: [project: args[1]], model: 'm').id)
def text = client.results(predicted.id, predicted.predict.slides[0].key).withCloseable { new String(it.readAllBytes(), 'UTF-8') }
println "predicted ${predicted.predict.slides.size()} ${text.count('"Feature"')}"
println "undone ${client.watch(client.undo(predicted.id).id).state}"
println "models ${client.models().size()} version ${client.server().version}"

def refusals = [
    token: { new QpBridgeClient(client.url, 'wrong').server() },
    port: { new QpBridgeClient('http://127.0.0.1:1', 'x').server() },
    foreign: { new QpBridgeClient("http://127.0.0.1:${args[2]}".toString(), 'x').server() },
    field: { client.predict(model: 'm', noSuchField: 1) },
    method: { client.call('PredictionService/Nothing') },
    place: { client.inspect(project: '/etc') },
    address: { new QpBridgeClient('nowhere', 'x').server() },
    none: { QpBridgeClient.connect(state: args[1]) },
    results: { client.results(predicted.id, '1') }
]
refusals.each { name, ask ->
    try {
        ask()
        println "refused ${name} NOT"
    } catch (QpBridgeClient.Failure error) {
        println "refused ${name} ${error.reason} | ${error.step}"
    }
}
