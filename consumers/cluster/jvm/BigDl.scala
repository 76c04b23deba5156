package edgewise.cluster

import java.io.{BufferedInputStream, DataInputStream, FileInputStream}
import java.nio.{ByteBuffer, ByteOrder}
import java.nio.file.{Files, Paths}
import java.util.concurrent.{Callable, ConcurrentHashMap, ConcurrentLinkedDeque, ExecutionException, Executors}
import java.util.concurrent.atomic.AtomicInteger

import com.fasterxml.jackson.databind.{JsonNode, ObjectMapper}
import com.intel.analytics.bigdl.dllib.nn.mkldnn.{AvgPooling, CAddTable, DnnGraph, Input, Linear, MaxPooling, Output, Phase, ReLU, SoftMax, SpatialConvolution}
import com.intel.analytics.bigdl.dllib.tensor.Tensor
import com.intel.analytics.bigdl.mkl.{MKL, Memory, MklDnn}

import scala.collection.JavaConverters._
import scala.collection.mutable
import scala.util.Random

/** A model file that `models.exports.bigdl` wrote: a network in JSON, then its weights as little-endian float32. */
final class Network(header: JsonNode, weights: Array[Float]) {
  val (height, width, channels) = (header.get("height").asInt, header.get("width").asInt, header.get("channels").asInt)
  val classes: Int = header.get("classes").asInt
  val output: String = header.get("output").asText
  val nodes: Seq[JsonNode] = header.get("nodes").asScala.toSeq

  /** A node's weights of this name, in BigDL's layout. */
  def tensor(node: JsonNode, name: String): Tensor[Float] = {
    val place = node.get("weights").get(name)
    val shape = place.get("shape").asScala.map(_.asInt).toArray
    val start = place.get("start").asInt
    Tensor[Float](weights.slice(start, start + shape.product), shape)
  }
}

object Network {
  def read(file: String): Network = {
    val in = new DataInputStream(new BufferedInputStream(new FileInputStream(file)))
    try {
      val header = new Array[Byte](java.lang.Long.reverseBytes(in.readLong).toInt)
      in.readFully(header)
      val floats = ByteBuffer.wrap(in.readAllBytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer
      val weights = new Array[Float](floats.remaining)
      floats.get(weights)
      new Network(new ObjectMapper().readTree(header), weights)
    } finally in.close()
  }
}

/** BigDL in this JVM: of each network as many copies as tasks classify at once. Two tasks in one would end the JVM. */
object BigDl {
  // Read once, when the library is loaded. One thread for one copy: the copies beside it use the other cores.
  for ((name, value) <- Seq("bigdl.multiModels" -> "true", "bigdl.mklNumThreads" -> "1"))
    if (System.getProperty(name) == null) System.setProperty(name, value)

  private val pools = new ConcurrentHashMap[Seq[Any], Pool]

  /** A copy of a model's network, for one task until it is released; made if all are taken. */
  def take(
      file: String,
      model: String,
      scale: Array[Float],
      offset: Array[Float],
      batchMax: Int,
      threads: Int
  ): Engine = {
    val key = Seq(file, model, scale.toSeq, offset.toSeq, batchMax, threads)
    val pool = pools.computeIfAbsent(key, _ => new Pool(Network.read(file), scale, offset, batchMax, threads))
    pool.take()
  }

  /** Why BigDL's native library cannot be loaded into this JVM; empty if it can. Tried once: Java tries no class twice. */
  lazy val probe: String = {
    val unpacked = Paths.get(System.getProperty("java.io.tmpdir")) // where the library goes for loading
    try {
      if (!Files.isWritable(unpacked)) s"java.io.tmpdir is $unpacked, where nothing can be written"
      else if (MklDnn.isLoaded && MKL.isMKLLoaded) ""
      else "it does not say why"
    } catch {
      case error: Throwable => // errors of linking and initialising among them
        Iterator.iterate(error)(_.getCause).takeWhile(_ != null).map(_.toString).mkString("; because of ")
    }
  }
}

private final class Pool(network: Network, scale: Array[Float], offset: Array[Float], batchMax: Int, threads: Int) {
  private val idle = new ConcurrentLinkedDeque[BigDlCopy]

  def take(): Engine = {
    val copy = Option(idle.pollFirst()).getOrElse(new BigDlCopy(network, scale, offset, batchMax, threads))
    new Engine {
      private var healthy = true

      override def classify(images: Array[Array[Byte]]): Answers = {
        healthy = false
        val answers = copy.classify(images)
        healthy = true
        answers
      }

      /** Not if it failed: what state it is in then, nobody knows. */
      override def release(): Unit = if (healthy) idle.addFirst(copy)
    }
  }
}

/** One copy of the network, with a thread of its own.
  *
  * MKL-DNN keeps things in the thread that calls it, and Spark's threads come and go. A compiled network takes
  * batches of one size only, so there is one for each power of two, and a batch goes through in such pieces: nothing
  * is filled up, and the time for an image hardly depends on the piece's size.
  */
final class BigDlCopy(network: Network, scale: Array[Float], offset: Array[Float], batchMax: Int, threads: Int) {
  private val thread = Executors.newSingleThreadExecutor { work: Runnable =>
    val made = new Thread(work, s"bigdl-${BigDlCopy.made.getAndIncrement()}")
    made.setDaemon(true)
    made
  }

  /** The largest first; all compiled now, so that no later batch has to wait for it. */
  private val pieces: Seq[Piece] = within {
    val sizes = Iterator.iterate(Integer.highestOneBit(batchMax))(_ / 2).takeWhile(_ > 0).toList
    // Of this thread; loading the library has set another number.
    MKL.setNumThreads(math.max(1, threads))
    MklDnn.setNumThreads(math.max(1, threads))
    val fused = BigDlCopy.fuses(network, sizes.head)
    sizes.map(new Piece(_, fused))
  }

  def classify(images: Array[Array[Byte]]): Answers = within {
    val answers = new Answers(new Array[Int](images.length), new Array[Float](images.length))
    var done = 0
    while (done < images.length) {
      val piece = pieces.find(_.size <= images.length - done).get
      piece.classify(images, done, answers)
      done += piece.size
    }
    answers
  }

  /** Work in the copy's thread. Wait to the end, even when Spark wants the task gone: the copy must be free then. */
  private def within[T](work: => T): T = {
    val running = thread.submit(new Callable[T] { override def call(): T = work })
    var interrupted = false
    try {
      while (!running.isDone) {
        try running.get()
        catch {
          case _: InterruptedException => interrupted = true
          case _: ExecutionException   => // told below
        }
      }
      running.get()
    } catch {
      case error: ExecutionException => throw error.getCause
    } finally if (interrupted) Thread.currentThread().interrupt()
  }

  private final class Piece(val size: Int, fused: Boolean) {
    private val perImage = network.height * network.width * network.channels
    private val values = new Array[Float](size * perImage)
    private val input = Tensor[Float](values, Array(size, network.channels, network.height, network.width))
    private val graph = BigDlCopy.compile(network, size, fused)

    /** Each byte's value in each channel, where all pixels are scaled alike. */
    private val scaled =
      if (scale.length == network.channels)
        Array.tabulate(network.channels, 256)((channel, byte) => byte * scale(channel) + offset(channel))
      else null

    def classify(images: Array[Array[Byte]], from: Int, answers: Answers): Unit = {
      for (place <- 0 until size) fill(images(from + place), place * perImage)
      val chances = graph.forward(input).toTensor[Float].storage().array()
      for (place <- 0 until size) {
        val start = place * network.classes
        val best = (start until start + network.classes).maxBy(chances(_))
        answers.labels(from + place) = best - start
        answers.scores(from + place) = chances(best)
      }
    }

    private def fill(image: Array[Byte], start: Int): Unit = {
      val (channels, area) = (network.channels, network.height * network.width)
      var channel = 0
      while (channel < channels) {
        val to = start + channel * area
        if (scaled != null) fillAlike(image, channel, to) else fillPixelByPixel(image, channel, to)
        channel += 1
      }
    }

    private def fillAlike(image: Array[Byte], channel: Int, to: Int): Unit = {
      val (channels, area, table) = (network.channels, network.height * network.width, scaled(channel))
      var at = 0
      while (at < area) {
        values(to + at) = table(image(at * channels + channel) & 0xff)
        at += 1
      }
    }

    /** By a scale and an offset of its own for each channel of each pixel. */
    private def fillPixelByPixel(image: Array[Byte], channel: Int, to: Int): Unit = {
      val (channels, area) = (network.channels, network.height * network.width)
      var at = 0
      while (at < area) {
        val from = at * channels + channel
        values(to + at) = (image(from) & 0xff) * scale(from) + offset(from)
        at += 1
      }
    }
  }
}

object BigDlCopy {
  private val made = new AtomicInteger

  /** Of two answers, how far a chance may be apart and only be rounded otherwise. */
  private val Rounding = 1e-3f

  /** Whether BigDL may make an addition part of the convolution before it, which is quicker.
    *
    * It takes the addend to lie in memory as what the convolution reads, and not as what it writes. Which layouts
    * those are is the processor's affair: where they differ, compiling fails or sums are wrong. So noise goes
    * through both ways.
    */
  private def fuses(network: Network, size: Int): Boolean =
    try {
      val random = new Random(1)
      val noise = Tensor[Float](
        Array.fill(size * network.channels * network.height * network.width)(random.nextGaussian().toFloat),
        Array(size, network.channels, network.height, network.width)
      )
      val Seq(one, other) = Seq(true, false).map { fused =>
        val graph = compile(network, size, fused)
        try graph.forward(noise).toTensor[Float].storage().array().clone()
        finally graph.release()
      }
      one.zip(other).forall { case (chance, again) => math.abs(chance - again) < Rounding }
    } catch {
      case _: IllegalArgumentException => false
    }

  /** BigDL asks for this property when it compiles, and a JVM has one of it. */
  private def compile(network: Network, size: Int, fused: Boolean): DnnGraph = synchronized {
    System.setProperty("bigdl.mkldnn.fusion", fused.toString)
    val image = Input(Array(size, network.channels, network.height, network.width), Memory.Format.nchw).inputs()
    val nodes = mutable.Map("pixels" -> image)
    for (node <- network.nodes) {
      val inputs = node.get("inputs").asScala.map(name => nodes(name.asText)).toSeq
      nodes(node.get("name").asText) = layer(network, node).inputs(inputs: _*)
    }
    val output = Output(Memory.Format.nc).inputs(nodes(network.output))
    val graph = DnnGraph(Seq(image), Seq(output))
    graph.evaluate()
    graph.compile(Phase.InferencePhase)
    graph
  }

  private def layer(network: Network, node: JsonNode) = {
    def number(name: String, place: Int): Int = node.get(name).get(place).asInt
    val (padH, padW) = (number("pads", 0), number("pads", 1)) // -1 is what Keras calls same
    node.get("op").asText match {
      case "conv" =>
        val kernel = network.tensor(node, "kernel")
        SpatialConvolution(
          kernel.size(2),
          kernel.size(1),
          number("kernel", 1),
          number("kernel", 0),
          number("strides", 1),
          number("strides", 0),
          padW,
          padH,
          initWeight = kernel,
          initBias = network.tensor(node, "bias")
        )
      case "relu" => ReLU()
      case "add"  => CAddTable()
      case "max_pool" =>
        MaxPooling(number("kernel", 1), number("kernel", 0), number("strides", 1), number("strides", 0), padW, padH).floor()
      case "global_average_pool" => AvgPooling(1, 1, globalPooling = true)
      case "dense" =>
        val kernel = network.tensor(node, "kernel")
        Linear(kernel.size(2), kernel.size(1), initWeight = kernel, initBias = network.tensor(node, "bias"))
      case "softmax" => SoftMax()
    }
  }
}
