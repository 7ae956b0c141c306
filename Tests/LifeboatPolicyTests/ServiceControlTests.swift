// SPDX-License-Identifier: Apache-2.0

import LifeboatPolicy
import Testing

@Suite struct ServiceControlTests {
    private static func policy(_ services: String, health: String = "[]") throws -> Policy {
        let text = """
            stack: demo
            repository: /r
            encryption: none
            components: {docs: {volume: {path: /d}}}
            services: \(services)
            health: \(health)
            """
        return try PolicyParser.parse(text, source: nil, folder: "/etc/demo")
    }

    @Test func `every word of compose is read`() throws {
        let policy = try Self.policy(
            """
            {compose: {files: [docker-compose.yml, /srv/extra.yml], project: my_app-2, project_directory: ./app,
              env_files: [.env], profiles: [gpu, '*'], services: [web.ui, Worker], may_kill: [Worker]}}
            """, health: "[{container: web.ui, within: 2m, consecutive: 3}]")
        #expect(
            policy.services.control
                == .compose(
                    ComposePolicy(
                        files: ["/etc/demo/docker-compose.yml", "/srv/extra.yml"], project: "my_app-2",
                        projectDirectory: "/etc/demo/app", environmentFiles: ["/etc/demo/.env"],
                        profiles: ["gpu", "*"], services: ["web.ui", "Worker"], mayKill: ["Worker"])))
        #expect(
            policy.health == [HealthProbePolicy(question: .container(service: "web.ui"), within: 120, consecutive: 3)])
        #expect(
            try Self.policy("{compose: {file: docker-compose.yml}}").services.control
                == .compose(ComposePolicy(files: ["/etc/demo/docker-compose.yml"])))
        #expect(try Self.policy("{compose: {project: x}}").services.control == .compose(ComposePolicy(project: "x")))
    }

    @Test func `every word of systemd is read`() throws {
        #expect(
            try Self.policy("{systemd: {units: [postgresql@15-main, 'api.service', 'dev-disk\\x2d1.mount']}}")
                .services.control
                == .systemd(SystemdPolicy(units: ["postgresql@15-main", "api.service", "dev-disk\\x2d1.mount"])))
        #expect(
            try Self.policy("{systemd: {units: [api], user: true}}").services.control
                == .systemd(SystemdPolicy(units: ["api"], user: true)))
    }

    @Test func `commands may say how to pause`() throws {
        #expect(
            try Self.policy("{commands: {stop: [a b], start: [c d], pause: [e f], unpause: [./g h]}}").services.control
                == .commands(
                    stop: [["a", "b"]], start: [["c", "d"]], status: [], pause: [["e", "f"]],
                    unpause: [["/etc/demo/g", "h"]]))
    }
}

/// As `diagnosticCases`, for how services are controlled.
let serviceControlCases = ##"""
    === compose without a project
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {compose: {profiles: [a]}}
    --- expected
    lifeboat.yaml:5:21: 'services.compose' names no project
      hint: Write 'file: docker-compose.yml', or 'project: NAME' for one whose file is not at hand.
    === compose with a file and files
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {compose: {file: a.yml, files: [b.yml]}}
    --- expected
    lifeboat.yaml:5:35: 'services.compose' has 'file' and 'files'
      hint: Put all of them in 'files', in the order in which they are merged.
    === compose as text, and with a wrong key
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {compose: docker-compose.yml}
    --- expected
    lifeboat.yaml:5:21: 'services.compose' must be a mapping of keys to values, not text
    === compose with names that are none
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {compose: {fil: a.yml, project: My App, services: [web, 'a b', web], may_kill: [], env_files: []}}
    --- expected
    lifeboat.yaml:5:22: unknown key 'fil' in 'services.compose'
      hint: Did you mean 'file'?
    lifeboat.yaml:5:43: 'services.compose.project' is no name of a project: 'My App'
      hint: Use a-z, 0-9, '_' and '-', beginning with a letter or digit.
    lifeboat.yaml:5:67: 'services.compose.services': 'a b' is not the name of a service
    lifeboat.yaml:5:90: 'services.compose.may_kill' is empty
      hint: Name at least one, or remove the key.
    lifeboat.yaml:5:105: 'services.compose.env_files' is empty
      hint: Name a file, or remove the key.
    === compose services named twice, or killed without being touched
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services:
      compose: {file: a.yml, services: [web, web]}
    --- expected
    lifeboat.yaml:6:42: 'services.compose.services' names 'web' twice
    === may_kill of another service
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services:
      compose: {file: a.yml, services: [web], may_kill: [worker]}
    --- expected
    lifeboat.yaml:6:54: 'services.compose.may_kill' names 'worker', which is not among 'services'
    === an option for a service
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {compose: {file: a.yml, services: [--all]}}
    --- expected
    lifeboat.yaml:5:46: 'services.compose.services': '--all' is not the name of a service
    === systemd without units
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {systemd: {user: yes}}
    --- expected
    lifeboat.yaml:5:21: 'services.systemd' needs the key 'units'
      hint: Name the units: units: [postgresql, my-api].
    lifeboat.yaml:5:28: 'services.systemd.user' must be true or false, not 'yes'
    === systemd with a pattern
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {systemd: {units: ['app-*']}}
    --- expected
    lifeboat.yaml:5:30: 'services.systemd.units': 'app-*' is not the name of a unit
    === two ways at once
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {compose: {file: a.yml}, systemd: {units: [a]}}
    --- expected
    lifeboat.yaml:5:36: 'services' has 'compose' and 'systemd'
      hint: Services are controlled in one way: keep one of them.
    === pause without unpause
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {commands: {stop: [a b], start: [c d], pause: [e f]}}
    --- expected
    lifeboat.yaml:5:50: 'services.commands' has 'pause' without 'unpause'
      hint: Services that are held have to go on again: give both, or neither.
    === a container without compose
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    health: [{container: web}]
    --- expected
    lifeboat.yaml:5:22: 'health[0].container' needs services of a Compose project
      hint: Add services.compose, or ask another question.
    === a container that is no service
    stack: demo
    repository: /r
    encryption: none
    components: {docs: {volume: {path: /d}}}
    services: {compose: {file: a.yml}}
    health: [{container: "a b"}]
    --- expected
    lifeboat.yaml:6:22: 'health[0].container': 'a b' is not the name of a service
    """##
