// A round of review on a server that works; arguments: project file, slide, GeoJSON of what was drawn, folder of scripts. Tells what happened.
import made.MadeImage
import made.MadeObject
import qupath.lib.io.PathIO
import qupath.lib.scripting.QP

def image = new MadeImage(file: new File(args[0]), slide: new File(args[1]))
QP.imageData = QP.project = QP.projectEntry = image
def drawn = new File(args[2]).withInputStream { PathIO.readObjectsFromGeoJSON(it) }
image.all.addAll(drawn)
def run = { name ->
    new GroovyShell(getClass().classLoader, new Binding(['qupath.script.file': new File(args[3], "${name}.groovy").path])).evaluate(new File(args[3], "${name}.groovy"))
}
def isThere = { one -> image.all.any { it.is(one) } }
def ids = { image.all.collect { it.id } as Set }
def reviews = { image.all.findAll { it.pathClass == 'Review*' } }

run('train')
run('predict_tissue')
def found = image.all.findAll { !(it in drawn) } // in Groovy 5, minus takes from the list itself
def (edited, locked) = found.sort { -it.geometry.area }.take(2)
edited.geometry = edited.geometry.buffer(3)
locked.locked = true
run('suggest_regions')
println "suggested ${reviews().size()} edited ${isThere(edited)} locked ${isThere(locked)}"

def place = reviews()[0].geometry.envelopeInternal
def added = MadeObject.box(pathClass: edited.pathClass, place.minX + 4, place.minY + 4, place.width / 2, place.height / 2)
image.all << added
def before = ids()
run('train_again')
run('predict_tissue')
def kept = [edited, locked, added, *drawn]
def covered = image.all.count { one ->
    !(one in kept) && one.pathClass != 'Review*' && [edited, locked].any { it.geometry.intersection(one.geometry).area > 0.5 * it.geometry.union(one.geometry).area }
}
println "second round: kept ${kept.every(isThere)} suggestions ${reviews().size()} twice ${image.all.size() - ids().size()} covered ${covered}"
run('undo')
println "undone: as before ${ids() == before} kept ${kept.every(isThere)}"
