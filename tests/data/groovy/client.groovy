// Trains, watches, cancels, predicts and undoes on a server that works; arguments: state folder, project. Tells what came back, a line each.
def client = QpBridgeClient.connect(state: args[0])
def small = [variant: 'unet', width: '2', mpp: '2.0', patch_px: '64', samples_per_epoch: '8']
def request = { epochs -> [project: args[1], out: 'm', family: 'dmmn', preset: 'small', settings: small + [epochs: epochs]] }
def stages = [] as LinkedHashSet
def trained = client.watch(client.train(request('1')).id) { if (it.progress) stages << it.progress.stage }
println "trained ${trained.state} ${trained.train.classes.join(',')} ${'train' in stages} ${client.models().find { it.name == 'm' }?.digest == trained.train.digest}"

def endless = client.train(request('100000'))
try {
    def isTraining = false
    client.watch(endless.id, { isTraining |= it.progress?.stage == 'train' }, { isTraining })
} catch (QpBridgeClient.Failure error) {
    println "cancelled ${error.reason} ${client.job(endless.id).state} ${client.models().size()}"
}

def predicted = client.watch(client.predict(project: [project: args[1]], model: 'm', suggest: 2, gzip: true).id)
def slide = predicted.predict.slides[0]
def text = client.results(predicted.id, slide.key).withCloseable { new String(it.readAllBytes(), 'UTF-8') }
def found = new com.google.gson.Gson().fromJson(text, Map).features
println "predicted ${predicted.predict.slides.size()} ${found.size() == slide.objects as int} ${found.count { it.get('properties').classification.name == 'Review*' } == slide.suggestions as int}"
println "undone ${client.watch(client.undo(predicted.id).id).state}"
try {
    client.results(predicted.id, slide.key)
} catch (QpBridgeClient.Failure error) {
    println "gone ${error.reason}"
}
