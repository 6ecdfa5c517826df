import com.google.gson.Gson
import com.google.gson.JsonSyntaxException

import javax.net.ssl.SSLContext
import javax.net.ssl.TrustManagerFactory
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.nio.ByteBuffer
import java.nio.charset.StandardCharsets
import java.nio.file.Files
import java.nio.file.LinkOption
import java.nio.file.Path
import java.nio.file.Paths
import java.security.KeyStore
import java.security.cert.CertificateFactory
import java.time.Duration
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit

/**
 * Asks a server of qpbridge by HTTP and JSON. Knows nothing of QuPath; needs the JDK and Gson only.
 * Messages are maps with the fields of the protos in camelCase; whole numbers of 64 bits arrive as text.
 */
class QpBridgeClient {

    /** Of the server that these scripts were written with. */
    static final String VERSION = '0.1'

    /** How long a server may take to let us in, and to answer a small question, s. */
    static final int CONNECT_S = 10
    static final int ANSWER_S = 120

    /** How often a watcher looks whether somebody pressed cancel, ms. */
    static final int POLL_MS = 200

    /** How often a lost stream is taken up again before the connection counts as lost. */
    static final int ATTEMPTS = 5

    static final Set ENDED = ['JOB_STATE_SUCCEEDED', 'JOB_STATE_PARTLY_DONE', 'JOB_STATE_FAILED', 'JOB_STATE_CANCELLED'] as Set

    private static final Gson GSON = new Gson()

    final String url
    private final String token
    private final HttpClient http
    private final String name

    /** What failed: the step that could not be done, a stable reason, and what happened and what to do. */
    static class Failure extends RuntimeException {
        final String step
        final String reason

        Failure(String step, String reason, String message, Throwable cause = null) {
            super("qpbridge could not ${step}: ${message} [${reason}]".toString(), cause)
            this.step = step
            this.reason = reason
        }
    }

    // Other files cannot name a class within this one before it is loaded.
    static Failure failed(String step, String reason, String message) { new Failure(step, reason, message) }

    static String reasonOf(Throwable error) { error instanceof Failure ? error.reason : null }

    QpBridgeClient(String url, String token, Path authority = null) {
        this.url = url
        this.token = token
        this.name = "${System.getProperty('user.name')}@scripts".replaceAll('[^ -~]', '?')
        def builder = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(CONNECT_S))
        if (authority != null)
            builder.sslContext(trusting(authority))
        this.http = builder.build()
    }

    /**
     * Finds the server of this user and asks it who it is.
     * Options: url and token for a server elsewhere, authority (PEM file of what to trust), state (its state folder).
     */
    static QpBridgeClient connect(Map options = [:]) {
        def client
        if (options.url) {
            def token = options.token ?: System.getenv('QPBRIDGE_TOKEN')
            if (!token)
                throw new Failure('log in', 'TOKEN_REFUSED', 'a server elsewhere wants its token: set it at the top of the script, or in QPBRIDGE_TOKEN')
            client = new QpBridgeClient(options.url as String, token as String, options.authority ? Paths.get(options.authority as String) : null)
        } else {
            client = discovered(options.state ? Paths.get(options.state as String) : stateFolder())
        }
        def version = client.server().version as String
        if (version.tokenize('.').take(2).join('.') != VERSION)
            throw new Failure('talk to the server', 'SERVER_VERSION', "it is qpbridge ${version}, these scripts are for ${VERSION}: take the scripts of the server's version")
        return client
    }

    /** Where a server of this user tells its address and token. */
    static Path stateFolder() {
        def named = System.getenv('QPBRIDGE_STATE')
        if (named)
            return Paths.get(named)
        def home = System.getProperty('user.home')
        def system = System.getProperty('os.name').toLowerCase()
        if (system.contains('win'))
            return Paths.get(System.getenv('LOCALAPPDATA') ?: home, 'qpbridge')
        if (system.contains('mac'))
            return Paths.get(home, 'Library', 'Application Support', 'qpbridge')
        def states = System.getenv('XDG_STATE_HOME')
        return states ? Paths.get(states, 'qpbridge') : Paths.get(home, '.local', 'state', 'qpbridge')
    }

    private static QpBridgeClient discovered(Path folder) {
        def file = folder.resolve('server.json')
        def step = 'find the server'
        def start = 'start one with `qpbridge serve`'
        if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS))
            throw new Failure(step, 'SERVER_NOT_RUNNING', "none runs, as there is no ${file}: ${start}, or set url and token")
        if (isOpenToOthers(file))
            throw new Failure(step, 'DISCOVERY_UNSAFE', "others may read or write ${file}, so it is not trusted: remove it and start the server again")
        def told = GSON.fromJson(new String(Files.readAllBytes(file), StandardCharsets.UTF_8), Map)
        if (!ProcessHandle.of((told.pid as Number).longValue()).map { it.isAlive() }.orElse(false))
            throw new Failure(step, 'SERVER_NOT_RUNNING', "the one that ${file} tells of is gone: ${start}")
        if (!told.http_address)
            throw new Failure(step, 'SERVER_NOT_RUNNING', 'it runs without a port for scripts: start it without --no-http')
        def authority = told.tls_ca ? Paths.get(told.tls_ca as String) : null
        return new QpBridgeClient("${authority ? 'https' : 'http'}://${told.http_address}".toString(), told.token as String, authority)
    }

    private static boolean isOpenToOthers(Path file) {
        try {
            return Files.getPosixFilePermissions(file).any { it.name().startsWith('GROUP') || it.name().startsWith('OTHERS') }
        } catch (UnsupportedOperationException ignored) {
            return false // Windows closes the folders of a user to others by itself
        }
    }

    private static SSLContext trusting(Path authority) {
        try {
            def store = KeyStore.getInstance(KeyStore.defaultType)
            store.load(null, null)
            // A key may stand in the same file, which Java would take for a certificate.
            def texts = new String(Files.readAllBytes(authority), StandardCharsets.UTF_8).findAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/)
            if (!texts)
                throw new IllegalArgumentException('there is none in it')
            def stream = new ByteArrayInputStream(texts.join('\n').getBytes(StandardCharsets.UTF_8))
            CertificateFactory.getInstance('X.509').generateCertificates(stream).eachWithIndex { one, i -> store.setCertificateEntry("ca${i}".toString(), one) }
            def managers = TrustManagerFactory.getInstance(TrustManagerFactory.defaultAlgorithm)
            managers.init(store)
            def context = SSLContext.getInstance('TLS')
            context.init(null, managers.trustManagers, null)
            return context
        } catch (Exception error) {
            throw new Failure('trust the server', 'INVALID_VALUE', "the certificates in ${authority} cannot be read (${error.message}): give a PEM file", error)
        }
    }

    Map server() { call('ServerService/GetServer').server as Map }

    List models() { call('ModelService/ListModels').models as List ?: [] }

    Map inspect(Map request) { call('ProjectService/InspectProject', request, 3600).report as Map }

    Map train(Map request) { call('TrainingService/Train', request).job as Map }

    Map predict(Map request) { call('PredictionService/Predict', request).job as Map }

    Map undo(String jobId) { call('JobService/UndoJob', [jobId: jobId]).job as Map }

    Map job(String jobId) { call('JobService/GetJob', [jobId: jobId]).job as Map }

    Map cancel(String jobId) { call('JobService/CancelJob', [jobId: jobId]).job as Map }

    /** Calls a method that answers at once. */
    Map call(String method, Map request = [:], int timeoutS = ANSWER_S) {
        def content = GSON.toJson(request).getBytes(StandardCharsets.UTF_8)
        def answer = send(asking("/qpbridge.v1.${method}", timeoutS).header('Content-Type', 'application/json')
            .POST(HttpRequest.BodyPublishers.ofByteArray(content)).build())
        return answer.body().withCloseable { body -> parsed(new String(body.readAllBytes(), StandardCharsets.UTF_8)) }
    }

    /** Calls a method that answers with a stream, and hands each message over; one that returns false ends it. */
    void stream(String method, Map request, Closure onMessage) {
        def content = GSON.toJson(request).getBytes(StandardCharsets.UTF_8)
        def framed = ByteBuffer.allocate(content.length + 5).put((byte) 0).putInt(content.length).put(content).array()
        def answer = send(asking("/qpbridge.v1.${method}", 0).header('Content-Type', 'application/connect+json')
            .POST(HttpRequest.BodyPublishers.ofByteArray(framed)).build())
        answer.body().withCloseable { body ->
            def input = new DataInputStream(body)
            while (true) {
                def isEnd = (input.readByte() & 2) != 0
                def message = parsed(new String(input.readNBytes(input.readInt()), StandardCharsets.UTF_8))
                if (message.error)
                    throw failure(message.error as Map)
                if (isEnd || onMessage(message) == false)
                    return
            }
        }
    }

    /**
     * Waits for the end of a job and returns it.
     * onChange gets the job whenever it changes; where isCancelled returns true, or the thread is interrupted, it is stopped.
     */
    Map watch(String jobId, Closure onChange = { }, Closure isCancelled = { false }) {
        def events = new LinkedBlockingQueue<Object>()
        def reader = new Thread({ follow(jobId, events) }, 'qpbridge-watch')
        reader.daemon = true
        reader.start()
        try {
            while (true) {
                def event = events.poll(POLL_MS, TimeUnit.MILLISECONDS)
                if (event instanceof RuntimeException)
                    throw event
                if (event != null) {
                    onChange(event)
                    if (event.state in ENDED)
                        return wellEnded(event as Map)
                }
                if (isCancelled())
                    return wellEnded(cancel(jobId))
            }
        } catch (InterruptedException interrupted) {
            cancel(jobId)
            throw new Failure('go on', 'CANCELLED', "the script was interrupted, and job ${jobId} with it: run it again if that was not meant", interrupted)
        }
    }

    /** Returns the results of a slide as a stream of GeoJSON; the key is that of the job's report. To be closed. */
    InputStream results(String jobId, String key) {
        def entry = URLEncoder.encode(key, 'UTF-8').replace('+', '%20')
        def answer = send(asking("/v1/jobs/${jobId}/results/${entry}.geojson.gz", 0).GET().build())
        return new java.util.zip.GZIPInputStream(answer.body(), 1 << 16)
    }

    /** Returns text as messages hold bytes. */
    static String bytes(String text) { Base64.encoder.encodeToString(text.getBytes(StandardCharsets.UTF_8)) }

    private void follow(String jobId, LinkedBlockingQueue<Object> events) {
        for (int attempt = 1; ; attempt++) {
            try {
                def last = null
                stream('JobService/WatchJob', [jobId: jobId]) { message ->
                    if (message.job) {
                        last = message.job
                        attempt = 1
                        events.put(last)
                    }
                    return true
                }
                if (last?.state in ENDED)
                    return
            } catch (IOException | Failure error) { // a lost stream is watched again
                def isLost = error instanceof IOException || error.reason in ['SERVER_UNREACHABLE', 'TOO_MANY_STREAMS']
                if (!isLost || attempt >= ATTEMPTS) {
                    events.put(error instanceof Failure ? error : unreachable(error))
                    return
                }
            }
            Thread.sleep(1000)
        }
    }

    private static Map wellEnded(Map job) {
        if (job.state == 'JOB_STATE_CANCELLED')
            throw new Failure('go on', 'CANCELLED', "job ${job.id} was cancelled: run the script again if that was not meant")
        if (job.state == 'JOB_STATE_FAILED')
            throw new Failure('do the work', job.error?.reason as String, job.error?.message as String)
        return job
    }

    private HttpRequest.Builder asking(String path, int timeoutS) {
        try {
            def builder = HttpRequest.newBuilder(URI.create(url + path)).header('Authorization', "Bearer ${token}").header('qpbridge-client', name)
            return timeoutS > 0 ? builder.timeout(Duration.ofSeconds(timeoutS)) : builder
        } catch (IllegalArgumentException error) {
            throw new Failure('find the server', 'INVALID_VALUE', "'${url}' is no address, or the token has a line break: write http://HOST:PORT (${error.message})", error)
        }
    }

    private HttpResponse<InputStream> send(HttpRequest request) {
        HttpResponse<InputStream> answer
        try {
            answer = http.send(request, HttpResponse.BodyHandlers.ofInputStream())
        } catch (IOException error) {
            throw unreachable(error)
        }
        if (answer.statusCode() == 200)
            return answer
        def text = answer.body().withCloseable { new String(it.readAllBytes(), StandardCharsets.UTF_8) }
        throw failure(parsed(text))
    }

    private Failure unreachable(IOException error) {
        def isForeign = error.message =~ /(?i)parser|status line/ || error instanceof javax.net.ssl.SSLException || error instanceof ProtocolException
        def remedy = isForeign ? 'what answers there is no server of qpbridge, or speaks with encryption: check the port, and http or https'
            : 'check that it runs (`qpbridge serve`), and the host and port'
        return new Failure('reach the server', 'SERVER_UNREACHABLE', "${url} (${error.message ?: error.class.simpleName}): ${remedy}", error)
    }

    private Map parsed(String text) {
        try {
            def found = GSON.fromJson(text, Map)
            if (found != null)
                return found
        } catch (JsonSyntaxException ignored) {
        }
        throw new Failure('reach the server', 'SERVER_UNREACHABLE', "what answers at ${url} is no server of qpbridge: check the port (server.json tells it as http_address)")
    }

    private static final Map STEPS = [
        TOKEN_REFUSED: 'log in', ORIGIN_REFUSED: 'log in', SERVER_VERSION: 'talk to the server', SLIDE_NOT_FOUND: 'find the slide',
        SLIDE_MISMATCH: 'find the slide', PATH_REFUSED: 'open the files', PROJECT_NOT_FOUND: 'open the project',
        BUNDLE_NOT_FOUND: 'load the model', PREDICTION_NOT_FOUND: 'fetch the results'
    ]

    private static Failure failure(Map error) {
        def reason = error.details?.findResult { it.debug?.reason } ?: (error.code ?: 'unknown').toString().toUpperCase()
        def message = error.message as String
        def unknown = message =~ /has no field named "(\w+)"/
        if (unknown) {
            reason = 'SERVER_VERSION'
            message = "the server does not know '${unknown.group(1)}' yet: update it, or clear that setting in the script"
        }
        return new Failure((STEPS[reason] ?: 'do the work') as String, reason as String, message)
    }
}
