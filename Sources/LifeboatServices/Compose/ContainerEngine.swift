// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// The few things lifeboat asks of a container engine. Every call may be repeated: what is so already is no error.
/// Blocking. `patience` is how many seconds an engine that is away (it is being restarted) is waited for.
package protocol ContainerEngine: Sendable {
    /// The containers of a Compose project in any state, one-off ones too; of all projects when nil.
    func containers(
        of project: String?, patience: Double, _ cancellation: Cancellation?
    ) throws -> [EngineContainer]

    /// Nil when there is none, or when it is not of Compose.
    func container(_ id: String, patience: Double, _ cancellation: Cancellation?) throws -> EngineContainer?

    /// Returns when it has ended: by itself, or killed after its grace period.
    func stop(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws
    func start(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws
    func pause(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws
    func unpause(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws
    func setRestartPolicy(
        _ policy: EngineContainer.RestartPolicy, of container: EngineContainer, patience: Double,
        _ cancellation: Cancellation?) throws

    /// The command line of this very engine: for the journal, whose commands run in another environment.
    var commandWords: [String] { get }
}
