// Train a network on the annotations of this project, unsaved ones of the open image included.
//
// Needs a running server (`qpbridge serve`) and the files of this folder beside it; nothing to install in QuPath 0.5 to 0.7.
// Draw a few outlines of each class first; what nobody annotated is ignored.

// ---- settings ------------------------------------------------------------------------------------------------------
def URL = ''          // address of a server elsewhere, such as 'https://gpu.lab:50052'; empty: the one of this user
def TOKEN = ''        // its token; empty: QPBRIDGE_TOKEN, or found with the server
def NAME = 'my-model' // of the model on the server; an older one of that name is replaced when training ends well
def FAMILY = 'dmmn'   // kind of network; empty to keep that of BASE
def PRESET = 'small'  // 'small' or 'paper'; empty: the paper's values, or those of BASE
def BASE = ''         // continue from this model: its name, for the next round of review
def CLASSES = []      // classes to tell apart; empty: all that are annotated
def SETTINGS = [:]    // single settings, such as [epochs: '40']
def WITH_NUCLEI = false // send detections and cells as well, for networks that learn nuclei
def PATH_MAP = []     // where slides lie for the server, such as ['D:\\slides=/mnt/slides']
// --------------------------------------------------------------------------------------------------------------------

def file = binding.variables['qupath.script.file']
def home = file ? new File(file as String).parentFile : new File(System.getenv('QPBRIDGE_SCRIPTS') ?: '.')
if (!new File(home, 'QpBridgeClient.groovy').isFile())
    throw new IllegalStateException("QpBridgeClient.groovy is not in ${home.absolutePath}: save this script in qpbridge's groovy_scripts folder, or set QPBRIDGE_SCRIPTS to it")
def loader = new GroovyClassLoader(getClass().classLoader)
loader.addClasspath(home.absolutePath)
def Client = loader.loadClass('QpBridgeClient')
def Image = loader.loadClass('QpBridgeImage')
def Script = loader.loadClass('QpBridgeScript')

def image = Image.current()
def objects = WITH_NUCLEI ? image.objects() : image.hierarchy.getAnnotationObjects()
def request = [project: Image.projectPath(image.project), out: NAME, classes: CLASSES, settings: SETTINGS, pathMap: PATH_MAP,
               annotations: image.entry == null ? [] : [image.drawn(objects)]]
[family: FAMILY, preset: PRESET, base: BASE].each { key, value -> if (value) request[key] = value }

Script.run('train') { script ->
    def client = Client.connect(url: URL, token: TOKEN)
    def job = script.follow(client, client.train(request))
    def iou = job.train.meanIou == null ? 'no annotation was left to judge by' : String.format(Locale.ROOT, 'mean IoU %.3f', job.train.meanIou as double)
    return "model ${NAME} is trained on ${job.train.classes.join(', ')}; ${iou}"
}
