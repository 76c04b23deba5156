import com.hivemq.HiveMQServer;
import com.hivemq.configuration.service.InternalConfigurations;

/**
 * Starts HiveMQ with the settings that its configuration file does not offer.
 *
 * Janino compiles this at every start (0.2 s), so that a user needs no compiler and the repository no binary.
 */
public class HiveMq {
    public static void main(String[] arguments) throws Exception {
        // Without a security extension every client would be refused. We listen on the loopback only.
        InternalConfigurations.AUTH_DENY_UNAUTHENTICATED_CONNECTIONS.set(false);

        // 64 stores each for a server with many cores; opening them was half of the start.
        InternalConfigurations.PERSISTENCE_BUCKET_COUNT.set(4);
        InternalConfigurations.PAYLOAD_PERSISTENCE_BUCKET_COUNT.set(4);

        // The client's receive maximum decides, not 50.
        InternalConfigurations.MAX_INFLIGHT_WINDOW_SIZE_MESSAGES = 50;

        // How long a stop waits for work that may still come; what was confirmed is on disk before.
        InternalConfigurations.PERSISTENCE_SHUTDOWN_GRACE_PERIOD_MSEC.set(200);

        HiveMQServer.main(arguments);
    }
}
