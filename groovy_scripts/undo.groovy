// Take the last run of qpbridge on this image back; what you edited or locked since stays.
//
// Needs a running server (`qpbridge serve`) and the files of this folder beside it; nothing to install in QuPath 0.5 to 0.7.

// ---- settings ------------------------------------------------------------------------------------------------------
def URL = ''          // address of a server elsewhere, such as 'https://gpu.lab:50052'; empty: the one of this user
def TOKEN = ''        // its token; empty: QPBRIDGE_TOKEN, or found with the server
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

Script.run('undo') { script ->
    def client = Client.connect(url: URL, token: TOKEN)
    return "undone: ${image.undoLast(client) { script.follow(client, it) }}"
}
