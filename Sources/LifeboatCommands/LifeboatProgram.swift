// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatIO

/// A command of the program.
protocol LifeboatCommand: ParsableCommand {
    var output: OutputOptions { get }
    /// Standard output carries data, not messages.
    var writesData: Bool { get }
    /// It lists, and there is no point in going on when nobody reads the list any more.
    var isListing: Bool { get }
    /// Does the work on the calling thread. Problems that do not end it are printed through the session and show in
    /// the exit code.
    func run(_ session: CommandSession) throws -> ExitCode
}

extension LifeboatCommand {
    var writesData: Bool { false }
    var isListing: Bool { false }
}

/// The program as a function: arguments and a context in, an exit code out.
package enum LifeboatProgram {
    /// The version this source is.
    package static let version = "0.1.0"

    /// Runs one command line (without the program's name). Blocking, on the calling thread; never exits the process.
    package static func run(_ arguments: [String], _ context: CommandContext) -> ExitCode {
        let command: any ParsableCommand
        do {
            command = try Lifeboat.parseAsRoot(arguments)
        } catch {
            return parsingEnded(error, arguments, context)
        }
        guard let command = command as? any LifeboatCommand else {
            // `help`, and nouns without a verb: their run prints help by throwing it.
            do {
                var command = command
                try command.run()
                return .done
            } catch {
                return parsingEnded(error, arguments, context)
            }
        }
        let session = CommandSession(
            context, command.output.style, dataOnOutput: command.writesData, stopsWhenClosed: command.isListing)
        return finish(session) {
            defer { session.end() }
            return try command.run(session)
        }
    }

    /// Runs `body` and prints what is left to print. The exit code is that of the work, whoever reads the output.
    private static func finish(_ session: CommandSession, _ body: () throws -> ExitCode) -> ExitCode {
        var verdict: ExitCode?
        do {
            do {
                let code = session.verdict(try body())
                verdict = code
                try session.flush()
                return code
            } catch let error where !(error is OutputClosed) && verdict == nil {
                let converted = LifeboatError.converting(error)
                verdict = converted.exitCode
                try session.problem(converted)
                try session.flush()
                return converted.exitCode
            }
        } catch is OutputClosed {
            session.progress.finish()
            return verdict ?? session.verdictSoFar
        } catch {
            // Standard output failed in another way (a full disk behind `> file`): that is told on standard error.
            let converted = LifeboatError.converting(error)
            session.progress.finish()
            try? session.context.output.error.write(ErrorText.render(converted) + "\n")
            guard let verdict, verdict != .done else { return converted.exitCode }
            return verdict
        }
    }

    /// Help and version are results; everything else is an error of usage in the one form errors have.
    private static func parsingEnded(
        _ error: any Error, _ arguments: [String], _ context: CommandContext
    ) -> ExitCode {
        let session = CommandSession(context, OutputStyle(guessing: arguments))
        return finish(session) {
            if Lifeboat.exitCode(for: error).isSuccess {
                let columns = min(context.terminal.columns, 100)
                let text = Lifeboat.fullMessage(for: error, columns: columns)
                try session.emit(PlainText(text: text))
                return .done
            }
            try session.problem(UsageErrors.convert(error, arguments))
            return .usage
        }
    }
}

/// Help or the version.
private struct PlainText: OutputRendering {
    static let messageType = "summary"
    let text: String
}

/// ArgumentParser's complaints in the form of ours.
enum UsageErrors {
    static func convert(_ error: any Error, _ arguments: [String]) -> LifeboatError {
        if let error = validationCause(error) { return error }
        var message = Lifeboat.message(for: error)
        // `Error: …\nUsage: …` texts hold several lines; the first is the message.
        var causes = message.split(separator: "\n").map { $0.trimmingSpaces }
        message = causes.isEmpty ? "wrong usage" : causes.removeFirst()
        if message.hasSuffix(".") { message.removeLast() }
        message = message.prefix(1).lowercased() + message.dropFirst()
        let command = commandName(arguments)
        if let first = unknownCommand(arguments, after: command) {
            message = "there is no command '\(first)'"
        }
        return LifeboatError(message, causes: causes, hint: "See '\(command) --help'.", exitCode: .usage)
    }

    /// Our own error, thrown by a `validate`.
    private static func validationCause(_ error: any Error) -> LifeboatError? {
        error as? LifeboatError
    }

    /// The word that stands where a command was expected.
    private static func unknownCommand(_ arguments: [String], after command: String) -> String? {
        let depth = command.split(separator: " ").count - 1
        guard depth < arguments.count, !arguments[depth].hasPrefix("-"), depth == 0 || arguments[0] == "repository",
            depth < 2
        else { return nil }
        return arguments[depth]
    }

    /// `lifeboat repository init`: the words of the command line that name commands.
    private static func commandName(_ arguments: [String]) -> String {
        var words = ["lifeboat"]
        var commands = Lifeboat.configuration.subcommands
        for argument in arguments {
            guard let command = commands.first(where: { $0.configuration.commandName == argument }) else { break }
            words.append(argument)
            commands = command.configuration.subcommands
        }
        return words.joined(separator: " ")
    }
}

extension Substring {
    fileprivate var trimmingSpaces: String {
        var result = self
        while result.first == " " { result.removeFirst() }
        while result.last == " " { result.removeLast() }
        return String(result)
    }
}
