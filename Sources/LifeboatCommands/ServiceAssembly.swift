// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import LifeboatServices

extension StackAssembly {
    /// What stops, pauses and starts the services of the policy. Nil: it names none. Touches no service yet.
    func serviceManager() throws -> (any ServiceManager)? {
        switch policy.services.control {
        case nil: nil
        case .compose(let compose): try self.compose(compose)
        case .systemd(let systemd):
            SystemdServices(
                units: systemd.units, isUser: systemd.user, runner: runner,
                environment: session.context.environment)
        case .commands(let stop, let start, let status, let pause, let unpause):
            CommandServices(
                stop: stop, start: start, status: status, pause: pause, unpause: unpause, folder: policy.folder,
                runner: runner, clock: session.context.clock)
        }
    }

    private func compose(_ compose: ComposePolicy) throws -> ComposeServices {
        let context = session.context
        let project = ComposeProject(
            files: compose.files, name: compose.project, directory: compose.projectDirectory,
            environmentFiles: compose.environmentFiles, profiles: compose.profiles)
        return ComposeServices(
            project, services: compose.services, mayKill: compose.mayKill,
            engine: try EngineEndpoint.engine(
                environment: context.environment, runner: runner, clock: context.clock),
            compose: ComposeCommand(
                runner: runner, environment: composeVariables(project), folder: policy.folder),
            stateFolder: try PendingWork.stateFolder(context), clock: context.clock)
    }
}
