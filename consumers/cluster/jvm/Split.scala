package edgewise.cluster

import java.nio.charset.StandardCharsets.UTF_8
import java.util.zip.CRC32

/** Whose frame it is where each goes to one tier alone; the twin of `edgewise.split`. */
object Split {

  /** Say whether a frame is the cluster's. */
  def isClusters(seed: String, frame: Frame): Boolean = isClusters(seed, frame.camera, frame.number)

  def isClusters(seed: String, camera: Array[Byte], number: Long): Boolean = {
    val sum = new CRC32
    sum.update(s"$seed/".getBytes(UTF_8))
    sum.update(camera)
    sum.update(s"/$number".getBytes(UTF_8))
    var mixed = sum.getValue.toInt
    mixed = (mixed ^ (mixed >>> 16)) * 0x85ebca6b
    mixed = (mixed ^ (mixed >>> 13)) * 0xc2b2ae35
    ((mixed ^ (mixed >>> 16)) & 1) == 1
  }
}
