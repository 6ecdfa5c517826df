// Asks a server that encrypts, with and without trust in it; argument: state folder. Tells what came back, a line each.
def client = QpBridgeClient.connect(state: args[0])
println "${client.url.tokenize(':')[0]} ${client.server().version}"
def token = new com.google.gson.Gson().fromJson(new File(args[0], 'server.json').text, Map).token
[untrusted: client.url, plain: client.url.replace('https', 'http')].each { name, url ->
    try {
        QpBridgeClient.connect(url: url, token: token)
        println "${name} NOT refused"
    } catch (QpBridgeClient.Failure error) {
        println "${name} ${error.step} ${error.reason}"
    }
}
