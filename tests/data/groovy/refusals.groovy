// Asks a server for what it refuses; arguments: state folder, root, port of gRPC, job without files. Tells how, a line each.
def client = QpBridgeClient.connect(state: args[0])
def refusals = [
    token: { new QpBridgeClient(client.url, 'wrong').server() },
    'no token': { QpBridgeClient.connect(url: client.url) },
    port: { new QpBridgeClient('http://127.0.0.1:1', 'x').server() },
    foreign: { new QpBridgeClient("http://127.0.0.1:${args[2]}".toString(), 'x').server() },
    encrypted: { new QpBridgeClient(client.url.replace('http:', 'https:'), 'x').server() },
    field: { client.predict(model: 'm', noSuchField: 1) },
    method: { client.call('PredictionService/Nothing') },
    place: { client.inspect(project: '/etc') },
    address: { new QpBridgeClient('nowhere', 'x').server() },
    none: { QpBridgeClient.connect(state: args[1]) },
    model: { client.predict(model: 'other', slides: [paths: ["${args[1]}/a.svs".toString()]]) },
    results: { client.results(args[3], '1') }
]
refusals.each { name, ask ->
    try {
        ask()
        println "refused ${name} NOT"
    } catch (QpBridgeClient.Failure error) {
        println "refused ${name} ${error.reason} | ${error.step} | ${error.message}"
    }
}
