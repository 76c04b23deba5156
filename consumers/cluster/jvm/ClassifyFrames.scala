package edgewise.cluster

import java.net.InetAddress
import java.nio.charset.StandardCharsets.UTF_8
import java.security.MessageDigest
import java.sql.Timestamp
import java.time.Instant
import java.util

import org.apache.spark.{SparkEnv, SparkFiles, TaskContext}
import org.apache.spark.api.java.function.MapPartitionsFunction
import org.apache.spark.sql.{Dataset, Encoder, Encoders, Row}
import org.apache.spark.sql.types.{ArrayType, BinaryType, StringType, StructType}

import scala.collection.mutable

/** Kafka's rows of frames to Kafka's rows of results and rejections, a partition at a time, all in this JVM.
  *
  * @param engine "bigdl", or "none": everything but the model, which answers class 0
  * @param modelFile the name under which SparkContext.addFile sent the model
  * @param model its identity, name@12 hex digits
  * @param scale for each channel, or for each channel of each pixel: the model takes pixel * scale + offset
  * @param tasks batches that the whole cluster can classify at once, as results tell it
  * @param batchMax images in one call of the engine
  * @param threads for one call of the engine
  * @param split seed of the rule by which each frame goes to one tier; null answers every frame
  */
final class ClassifyFrames(
    engine: String,
    modelFile: String,
    model: String,
    height: Int,
    width: Int,
    scale: Array[Double],
    offset: Array[Double],
    tasks: Int,
    batchMax: Int,
    threads: Int,
    split: String
) extends MapPartitionsFunction[Row, Row] {
  require(Set("bigdl", "none")(engine), s"no engine $engine")
  require(batchMax >= 1, s"batchMax $batchMax")

  /** For py4j, whose lists of numbers are no arrays. */
  def this(
      engine: String,
      modelFile: String,
      model: String,
      height: Int,
      width: Int,
      scale: util.List[java.lang.Double],
      offset: util.List[java.lang.Double],
      tasks: Int,
      batchMax: Int,
      threads: Int,
      split: String
  ) = this(
    engine,
    modelFile,
    model,
    height,
    width,
    scale.toArray(Array.empty[java.lang.Double]).map(_.doubleValue),
    offset.toArray(Array.empty[java.lang.Double]).map(_.doubleValue),
    tasks,
    batchMax,
    threads,
    split
  )

  override def call(rows: util.Iterator[Row]): util.Iterator[Row] = new Classified(rows)

  private def take(): Engine =
    if (engine == "none") NoEngine
    else BigDl.take(SparkFiles.get(modelFile), model, scale.map(_.toFloat), offset.map(_.toFloat), batchMax, threads)

  /** One partition's rows, a batch at a time: no more of them are held than a batch and what was refused beside it. */
  private final class Classified(rows: util.Iterator[Row]) extends util.Iterator[Row] {
    private lazy val running = take()
    private val opener = new Opener(height, width)
    private val results = new ResultWriter(engine, model, tasks, Worker.name())
    private val ready = new util.ArrayDeque[Row]
    private var places: Places = _

    if (rows.hasNext) { // also for a frame that is none: so a cluster can be made ready beforehand
      val taken = running
      Option(TaskContext.get).foreach(_.addTaskCompletionListener[Unit](_ => taken.release()))
    }

    override def hasNext: Boolean = {
      while (ready.isEmpty && rows.hasNext) batch()
      !ready.isEmpty
    }

    override def next(): Row = if (hasNext) ready.poll() else throw new NoSuchElementException

    private def batch(): Unit = {
      val opened = new mutable.ArrayBuffer[(Arrival, Opened)](batchMax)
      while (opened.length < batchMax && ready.size < batchMax && rows.hasNext) {
        val row = rows.next()
        if (places == null) places = new Places(row.schema)
        val arrival = new Arrival(row, places, Clock.nowNs())
        try {
          val frame = opener.unseal(arrival.camera, arrival.wire)
          if (split == null || Split.isClusters(split, frame)) opened += arrival -> opener.picture(frame)
        } catch { case error: FrameError => ready.add(Rows.rejection(arrival, error)) }
      }
      if (opened.nonEmpty) classify(opened)
    }

    private def classify(opened: Seq[(Arrival, Opened)]): Unit = {
      val images = opened.map { case (_, one) => one.image }.toArray
      val startedNs = Clock.nowNs()
      val answers = running.classify(images)
      val inferredNs = Clock.nowNs()
      for (((arrival, one), place) <- opened.zipWithIndex) {
        val wire = results.encode(
          one.frame,
          label = answers.labels(place),
          score = answers.scores(place),
          bridgedNs = arrival.bridgedNs,
          appendedNs = arrival.appendedNs,
          receivedNs = arrival.receivedNs,
          startedNs = startedNs,
          inferredNs = inferredNs,
          sizeBytes = arrival.wire.length,
          batch = opened.length
        )
        ready.add(Row(Rows.Results, one.frame.camera, wire, null))
      }
    }
  }
}

object ClassifyFrames {

  /** What the function gives, as Kafka's sink takes it. */
  def schema(): StructType = Rows.Schema

  def encoder(): Encoder[Row] = Encoders.row(Rows.Schema)

  def apply(frames: Dataset[Row], function: ClassifyFrames): Dataset[Row] = frames.mapPartitions(function, encoder())

  /** Say why BigDL cannot work in this JVM; empty if it can. */
  def probe(): String = BigDl.probe
}

/** What classifies: images of height x width x 3 bytes in, the best class of each and its probability out. */
trait Engine {
  def classify(images: Array[Array[Byte]]): Answers

  /** A task is done with it. */
  def release(): Unit = ()
}

final class Answers(val labels: Array[Int], val scores: Array[Float])

/** For the bench: what everything around a model costs. */
object NoEngine extends Engine {
  override def classify(images: Array[Array[Byte]]): Answers =
    new Answers(new Array[Int](images.length), new Array[Float](images.length))
}

/** Where Kafka's columns stand in a row. */
private final class Places(schema: StructType) {
  val Seq(key, value, topic, partition, offset, timestamp, headers) =
    Seq("key", "value", "topic", "partition", "offset", "timestamp", "headers").map(schema.fieldIndex)
}

/** A frame in hand, unopened; the twin of `edgewise.arrival.Arrival`. */
private final class Arrival(row: Row, places: Places, val receivedNs: Long) {
  val wire: Array[Byte] = bytes(row.get(places.value))
  val camera: String = new String(bytes(row.get(places.key)), UTF_8)

  def origin: String =
    s"kafka ${row.getString(places.topic)}/${row.getInt(places.partition)}@${row.getLong(places.offset)}"

  /** Kafka's stamp, whole milliseconds. */
  def appendedNs: java.lang.Long = row.get(places.timestamp) match {
    case stamp: Timestamp => stamp.getTime * 1000000
    case stamp: Instant   => stamp.toEpochMilli * 1000000
    case _                => null
  }

  /** The bridge's stamp; null if there is none, or something else. The last of several counts. */
  def bridgedNs: java.lang.Long = {
    val headers = if (row.isNullAt(places.headers)) Seq.empty else row.getSeq[Row](places.headers)
    headers.reverseIterator.find(_.getString(0) == "bridged_ns").map(header => bytes(header.get(1))) match {
      case Some(stamp) if Arrival.isStamp(stamp) => java.lang.Long.valueOf(new String(stamp, UTF_8))
      case _                                     => null
    }
  }

  private def bytes(value: Any): Array[Byte] = if (value == null) Array.emptyByteArray else value.asInstanceOf[Array[Byte]]
}

private object Arrival {

  /** Up to 18 digits, or 19 that begin with 8 or less: what fits into 64 bits. */
  def isStamp(text: Array[Byte]): Boolean =
    text.length >= 1 && text.length <= 19 && text.forall(b => b >= '0' && b <= '9') &&
      (text.length < 19 || text(0) <= '8')
}

/** Rows as Kafka's sink takes them. */
private object Rows {
  val Results = "results"
  val Rejected = "frames-rejected"

  /** Of the original; its size and SHA-256 say what the rest was. */
  val KeptBytes: Int = 512 * 1024
  val KeyMax = 64

  val Schema: StructType = new StructType()
    .add("topic", StringType)
    .add("key", BinaryType)
    .add("value", BinaryType)
    .add("headers", ArrayType(new StructType().add("key", StringType).add("value", BinaryType)))

  /** The twin of `edgewise.rejects.reject`. */
  def rejection(arrival: Arrival, error: FrameError): Row = {
    val (wire, camera) = (arrival.wire, arrival.camera)
    val sha256 = Hex.of(MessageDigest.getInstance("SHA-256").digest(wire))
    val headers = Seq(
      "rule" -> error.rule,
      "reason" -> error.getMessage,
      "size_bytes" -> wire.length.toString,
      "sha256" -> sha256,
      "from" -> arrival.origin,
      "by" -> "cluster"
    ).map { case (name, value) => Row(name, value.getBytes(UTF_8)) }
    val key = camera.substring(0, camera.offsetByCodePoints(0, math.min(KeyMax, camera.codePointCount(0, camera.length))))
    Row(Rejected, key.getBytes(UTF_8), if (wire.length > KeptBytes) wire.take(KeptBytes) else wire, headers)
  }
}

/** The wall clock. */
private object Clock {
  def nowNs(): Long = {
    val now = Instant.now
    now.getEpochSecond * 1000000000L + now.getNano
  }
}

/** Who classified: executor@host:process/partition. */
private object Worker {
  private lazy val host = InetAddress.getLocalHost.getHostName
  private lazy val process = ProcessHandle.current.pid

  def name(): String = {
    val executor = Option(SparkEnv.get).map(_.executorId).getOrElse("driver")
    val place = Option(TaskContext.get).map(_.partitionId).getOrElse(0)
    s"$executor@$host:$process/$place"
  }
}
