// Train a network on tags alone: which tissues occur in a region, not where.
//
// Needs a running server (`qpbridge serve`) and the files of this folder beside it; nothing to install in QuPath 0.5 to 0.7.
// Tag rectangles as derived classes ('Region*: Tumor: Stroma'), or images by metadata (tissues = Tumor, Stroma).

// ---- settings ------------------------------------------------------------------------------------------------------
def URL = ''          // address of a server elsewhere, such as 'https://gpu.lab:50052'; empty: the one of this user
def TOKEN = ''        // its token; empty: QPBRIDGE_TOKEN, or found with the server
def NAME = 'my-weak-model' // of the model on the server
def PRESET = 'small'  // 'small' or 'paper'
def CLASSES = []      // tissues to tell apart; empty: all that are tagged
def SETTINGS = [:]    // single settings
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
def request = [project: Image.projectPath(image.project), out: NAME, family: 'weak_tissue', preset: PRESET, classes: CLASSES,
               settings: SETTINGS, pathMap: PATH_MAP,
               annotations: image.entry == null ? [] : [image.drawn(image.hierarchy.getAnnotationObjects())]]

Script.run('train_weak') { script ->
    def client = Client.connect(url: URL, token: TOKEN)
    def job = script.follow(client, client.train(request))
    return "model ${NAME} is trained on ${job.train.classes.join(', ')}"
}
