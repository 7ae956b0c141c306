// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// `README.txt`: the help file for somebody who has the repository and no lifeboat.
package enum RepositoryReadme {
    /// What the bytes of a stored README.txt are.
    package enum Version: Sendable, Equatable {
        case current
        /// The text of an earlier lifeboat: sound, and renewed by `repair`.
        case earlier
        /// Damaged, changed by somebody, or written by a newer lifeboat: the file is not signed.
        case unknown
    }

    /// BLAKE3 of the texts that earlier versions wrote.
    private static let earlierTexts: Set<String> = [
        "c8f9e1442fecda03c38c4a2625ab3da6b76ae475c9874d5fa5f4fd4ae5a1fa07"
    ]

    /// Compares the bytes of a stored README.txt with all texts that format 1 had.
    package static func version(of bytes: [UInt8]) -> Version {
        if bytes == Array(text.utf8) { return .current }
        return earlierTexts.contains(BLAKE3.hash(bytes).hex) ? .earlier : .unknown
    }

    /// The whole text. Tests follow it word by word with Debian's tools alone. `perl -x` runs the program at its end.
    package static let text = ##"""
        lifeboat backup repository, format 1 (text 2)

        This directory holds backups. All of them can be brought back without lifeboat, with the steps below.

          A. EVERYTHING BACK, STEP BY STEP

        1. Install the tools. perl is there on most systems (Debian: perl-base).

            apt install zstd tar b3sum jq age

        2. Set the paths. WORK and TARGET are new directories; WORK needs disk space for the data of all
           snapshots, not compressed. If names in packs/ end in .age, the repository is encrypted: IDENTITY is
           then a file with the age identity of one of the recipients in config.json. With a passphrase
           instead, make that file first: age -d "$REPOSITORY"/keys/NAME.age > FILE

            REPOSITORY=/path/to/this/directory
            WORK=/path/to/work
            TARGET=/path/to/restored
            IDENTITY=

        3. Unpack and check all data. The last line is "UNPACK PASSED" or "UNPACK FAILED". After a failure go
           on with step 4: what the damage does not touch can be restored. After an interruption run it again.

            perl -x "$REPOSITORY/README.txt" unpack "$REPOSITORY" "$WORK" "$IDENTITY"

        4. Choose a snapshot (the .json or .json.age file). Names are times in UTC; the last is the newest.

            ls "$REPOSITORY"/snapshots/*/*.json*
            SNAPSHOT=/path/to/one/of/these/files

        5. Restore it. The last line is "RESTORE PASSED" or "RESTORE FAILED"; a line before it names each file
           that is not whole. After an interruption choose another TARGET.

            perl -x "$REPOSITORY/README.txt" restore "$SNAPSHOT" "$WORK" "$TARGET" "$IDENTITY"

           TARGET/COMPONENT/PART is then a directory (a volume, models) or one file (a database dump, for
           pg_restore and the like). Owners and devices need root. Times are set to the second. Flags (chattr)
           and sockets are left out. Extended attributes and ACLs are in a file for setfattr (Debian: attr):

            cd "$TARGET" && setfattr -h --restore=lifeboat-xattrs.txt

        One content alone, by the id and depth that a snapshot or a tree names:

            perl -x "$REPOSITORY/README.txt" content ID DEPTH "$WORK" > FILE

        This file is not signed. Whoever can write to the storage can change it: if you do not trust the
        storage, take the README.txt of another repository. The other files are signed:
        'minisign -Vm FILE -P KEY'; config.json lists the keys of those who may sign.

          B. WHAT IS IN HERE

        packs/ab/ab....tar.zst    Chunks of data: 'zstd -dc PACK | tar -x' unpacks one. The pack is named by
                                  the BLAKE3 of the file (b3sum). Each member is a chunk, named by the BLAKE3
                                  of its bytes, or a patch: patches/BASE/ID.zst is what
                                  'zstd -d --patch-from=BASE' turns into chunk ID; patches/BASE+BASE/ID.zst
                                  has two chunks, one after the other, as base.
        index/....idx             Where each chunk is. Only for speed: the packs have all of it.
        snapshots/STACK/....json  One snapshot each: components, and their parts with content id, depth, size.
        pins/, forgotten/         Which snapshots are kept for good, and which were removed by rule.
        config.json               Parameters of this repository.
        ....minisig               Signature of the file beside it.
        ....age                   'age -d -i IDENTITY FILE' decrypts it.

        Content of depth 0 is the chunk of that id. Content of depth 1 is a chunk that is a list: records of
        36 bytes, 32 bytes id and 4 bytes length (little-endian); the chunks of the list, one after the other,
        are the data. The list of a content of depth 2 is a content of depth 1, and so on. Size 0: no chunk.

        A part of kind "stream" is one file. A part of kind "tree" is a directory, as text in mtree(5) format,
        one line an entry. contents=ID, and depth=N among the tags, is the content of a file. Other tags:
        hardlink=PATH: another name of that entry, which has the content; extents=OFFSET+LENGTH:...
        (hexadecimal): a file with holes, whose content is these ranges one after the other; stored=N: bytes of
        the content, if not as size and extents say; xattr.NAME=BASE64; problem=TEXT: what the backup could not
        read. Bytes of names that are not plain are \ooo (octal).

          C. THE PROGRAM OF SECTION A

        #!/usr/bin/perl
        use strict;
        use warnings;
        use Fcntl qw(O_WRONLY O_CREAT O_EXCL SEEK_SET);
        use File::Path qw(make_path);
        use File::Spec;
        use POSIX qw(mkfifo lchown);

        my ($chunks, $problems) = ('', 0);    # the directory of unpacked chunks, and how many lines begin with PROBLEM
        $| = 1;

        sub problem { print 'PROBLEM: ', @_, "\n"; $problems++ }

        sub verdict {
            my ($what, $done) = @_;
            print $problems ? "$what FAILED: $problems problem(s), see the lines above\n" : "$what PASSED: $done\n";
            exit($problems ? 1 : 0);
        }

        # A command of bash with $1, $2 and so on, which fails when any part of a pipe fails. 'plain FILE IDENTITY'
        # prints a file, decrypted when its name ends in .age.
        sub bash {
            my ($script, @arguments) = @_;
            my $plain = 'plain() { case $1 in *.age) age -d -i "$2" "$1" ;; *) cat "$1" ;; esac; }';
            return ('bash', '-c', "set -o pipefail; $plain; $script", 'bash', @arguments);
        }

        sub files {
            my ($directory) = @_;
            open my $list, '-|', 'find', $directory, '-type', 'f', '-print0' or die "find: $!\n";
            local $/ = "\0";
            chomp(my @files = <$list>);
            close $list or problem("cannot list $directory");
            return sort @files;
        }

        sub unpack_all {
            my ($repository, $identity) = @_;
            make_path($chunks);
            chdir $chunks or die "$chunks: $!\n";
            my @packs = grep { m{\.tar\.zst(\.age)?$} } files("$repository/packs");
            problem("no packs in '$repository': is it the repository?") if !@packs;
            my $unpack = 'plain "$1" "$2" | zstd -dcq | tar -xf - --no-same-owner';
            for my $number (1 .. @packs) {
                my $pack = $packs[$number - 1];
                print "pack $number of ", scalar @packs, "\n" if $number % 100 == 1;
                next if system(bash($unpack, $pack, $identity)) == 0;
                problem("pack '$pack' is damaged or cannot be decrypted: chunks of it are missing");
            }
            undo_patches();
            print "checking all chunks\n";
            my ($count, $list) = (0, q(find . -maxdepth 1 -type f -name '[0-9a-f]*' -printf '%f\n'));
            open my $sums, '-|', bash("$list | xargs -r b3sum") or die "bash: $!\n";
            while (<$sums>) {
                my ($sum, $name) = split;
                $count++;
                next if $sum eq $name;
                problem("chunk $name is damaged; its unpacked copy is deleted");
                unlink $name;
            }
            close $sums or problem('b3sum failed');
            verdict('UNPACK', "$count chunks have the content that their names say");
        }

        # Makes the chunks that are stored as patches, each as soon as its bases are there.
        sub undo_patches {
            my @ready = -d 'patches' ? grep { m{\.zst$} } files('patches') : ();
            print 'patches: ', scalar @ready, "\n";
            my %waiting;
            while (defined(my $patch = shift @ready)) {
                my ($bases, $id) = $patch =~ m{^patches/([0-9a-f+]+)/([0-9a-f]{64})\.zst$} or next;
                next if -e $id;
                my @bases = split /\+/, $bases;
                if (my ($missing) = grep { !-e $_ } @bases) {
                    push @{ $waiting{$missing} }, [$patch, $id];
                    next;
                }
                my $prefix = @bases == 1 ? $bases[0] : 'prefix';
                system(bash('cat "$@" > prefix', @bases)) if @bases > 1;
                if (system('zstd', '-dqf', "--patch-from=$prefix", $patch, '-o', 'new') == 0 and rename 'new', $id) {
                    push @ready, map { $_->[0] } @{ delete $waiting{$id} || [] };
                }
                else { problem("'$patch' cannot be undone") }
            }
            unlink 'new', 'prefix';
            for my $base (sort keys %waiting) {
                for my $id (map { $_->[1] } @{ $waiting{$base} }) {
                    problem("chunk $id needs chunk $base, which is missing") if !-e $id;
                }
            }
        }

        sub chunk {
            my ($id) = @_;
            open my $file, '<:raw', "$chunks/$id" or die "chunk $id is missing\n";
            local $/;
            return scalar <$file>;
        }

        # The ids of the chunks of a content, in their order.
        sub ids {
            my ($id, $depth) = @_;
            die "'$depth' is not the depth of a content (0 to 8)\n" if $depth !~ /^[0-8]$/;
            return $id if $depth == 0;
            return unpack '(H64x4)*', join '', map { chunk($_) } ids($id, $depth - 1);
        }

        # Writes a content of so many bytes to a new file, from these offsets on: [offset, length], and so on.
        sub write_file {
            my ($path, $id, $depth, $stored, $size, @ranges) = @_;
            sysopen my $out, $path, O_WRONLY | O_CREAT | O_EXCL, 0600 or die "$!\n";
            my ($left, $written) = (0, 0);
            for my $chunk ($stored ? ids($id, $depth) : ()) {
                my $data = chunk($chunk);
                while (length $data) {
                    while ($left == 0) {
                        my $range = shift @ranges or die "its content is longer than the file\n";
                        sysseek $out, $range->[0], SEEK_SET or die "seek: $!\n";
                        $left = $range->[1];
                    }
                    my $count = syswrite $out, $data, $left < length $data ? $left : length $data;
                    die "write: $!\n" if !$count;
                    substr $data, 0, $count, '';
                    $left -= $count;
                    $written += $count;
                }
            }
            die "it has $written of $stored bytes\n" if $written != $stored;
            truncate $out, $size or die "truncate: $!\n";
            close $out or die "close: $!\n";
        }

        sub decoded { my ($name) = @_; $name =~ s/\\([0-7]{3})/chr oct $1/ge; return $name }

        sub set_attributes {
            my ($path, $word, $is_link) = @_;
            if ($> == 0) { lchown($word->{uid}, $word->{gid}, $path) or die "owner: $!\n" }
            return if $is_link;
            chmod oct $word->{mode}, $path or die "mode: $!\n";
            utime int $word->{time}, int $word->{time}, $path or die "time: $!\n";
        }

        # Makes one entry of a tree. %$seen has the type of each path so far.
        sub make_entry {
            my ($root, $path, $word, $tag, $seen) = @_;
            die "not a path below the tree\n" if $path !~ m{^\.(/|$)} or $path =~ m{/\.\.?(/|$)};
            my ($parent) = $path =~ m{^(.*)/};
            die "it is not in a directory\n" if defined $parent and ($seen->{$parent} || '') ne 'dir';
            my ($type, $full) = ($word->{type}, $root . substr $path, 1);
            $seen->{$path} = $type if $type eq 'dir';
            problem("'$full': the backup says: ", decoded($tag->{problem})) if defined $tag->{problem};
            return if $tag->{socket};
            if (defined $tag->{hardlink}) {
                my $first = decoded($tag->{hardlink});
                die "not a path below the tree\n" if $first !~ m{^\./} or $first =~ m{/\.\.(/|$)};
                link $root . substr($first, 1), $full or die "hard link: $!\n";
                return;
            }
            if    ($type eq 'dir')  { mkdir $full, 0700 or die "$!\n"; return }
            elsif ($type eq 'link') { symlink decoded($word->{link}), $full or die "$!\n" }
            elsif ($type eq 'fifo') { mkfifo($full, 0600) or die "$!\n" }
            elsif ($type eq 'file') {
                die "it has no content\n" if !defined $word->{contents};
                my @ranges = map { [map { hex } split /\+/] } split /:/, $tag->{extents} || '';
                my ($stored, $size) = (0, $word->{size});
                if (defined $tag->{extents}) { $stored += $_->[1] for @ranges }
                else                         { $stored = $size }
                if (defined $tag->{stored}) { $stored = $tag->{stored} }
                if (!defined $tag->{extents}) { @ranges = ([0, $stored]); $size = $stored }
                write_file($full, $word->{contents}, $tag->{depth}, $stored, $size, @ranges);
            }
            else {
                my (undef, $major, $minor) = split /,/, $word->{device};
                system('mknod', $full, $type eq 'char' ? 'c' : 'b', $major, $minor) == 0 or die "mknod failed\n";
            }
            set_attributes($full, $word, $type eq 'link');
        }

        sub restore_tree {
            my ($listing, $target, $name, $attributes) = @_;
            my ($count, %seen, @directories) = (0);
            open my $lines, '<:raw', $listing or die "$listing: $!\n";
            while (<$lines>) {
                chomp;
                next if /^#/;
                my ($path, @words) = split / /;
                my %word = map { split /=/, $_, 2 } @words;
                my %tag = map { /=/ ? split /=/, $_, 2 : ($_, 1) } split /,/, $word{tags} || '';
                $count++;
                eval { make_entry("$target/$name", decoded($path), \%word, \%tag, \%seen); 1 }
                    or problem("'$target/$name/", decoded($path), "': $@" =~ s/\n$//r);
                push @directories, [decoded($path), \%word] if $word{type} eq 'dir';
                my @own = map { m{^xattr\.(.*)} ? "$1=0s$tag{$_}\n" : () } sort keys %tag;
                print $attributes "# file: $name/$path\n", @own, "\n" if @own;
            }
            for my $directory (reverse @directories) {
                eval { set_attributes("$target/$name/$directory->[0]", $directory->[1]); 1 }
                    or problem("'$target/$name/$directory->[0]': $@" =~ s/\n$//r);
            }
            return $count;
        }

        sub restore {
            my ($snapshot, $target, $identity) = @_;
            mkdir $target, 0700 or die "cannot make the new directory '$target': $!\n";
            open my $attributes, '>:raw', "$target/lifeboat-xattrs.txt" or die "$target/lifeboat-xattrs.txt: $!\n";
            my $count = 0;
            my $query = '.components[] | .name as $c | (.problems[]? | ["problem", $c, .] | @tsv),
                (.parts[] | [.kind, $c, .name, .content.id, .content.depth, .content.size] | @tsv)';
            open my $parts, '-|', bash('plain "$1" "$2" | jq -r "$3"', $snapshot, $identity, $query)
                or die "bash: $!\n";
            while (<$parts>) {
                chomp;
                my ($kind, $component, $part, $id, $depth, $size) = split /\t/;
                if ($kind eq 'problem') { problem("component '$component', the backup says: $part"); next }
                my $name = "$component/$part" =~ s{^/+}{}r;
                if ($name =~ m{(^|/)\.{0,2}(/|$)}) { problem("'$name' cannot be a path"); next }
                print "$name\n";
                make_path("$target/$name" =~ s{/[^/]*$}{}r, { mode => 0755 });
                my $file = "$target/" . ($kind eq 'tree' ? 'listing' : $name);
                eval {
                    write_file($file, $id, $depth, $size, $size, [0, $size]);
                    $count += $kind eq 'tree' ? restore_tree($file, $target, $name, $attributes) : 1;
                    1;
                } or problem("'$target/$name': $@" =~ s/\n$//r);
                unlink $file if $kind eq 'tree';
            }
            close $parts or problem("snapshot '$snapshot' cannot be read to its end");
            close $attributes or problem("$target/lifeboat-xattrs.txt: $!");
            verdict('RESTORE', "$count files and directories in '$target'");
        }

        my ($command, @paths) = @ARGV;
        sub absolute { my ($path) = @_; return defined $path && $path ne '' ? File::Spec->rel2abs($path) : '' }
        if (($command || '') eq 'content' and @paths == 3) {
            $chunks = absolute($paths[2]) . '/chunks';
            binmode STDOUT;
            for my $id (ids($paths[0], $paths[1])) { print chunk($id) or die "write: $!\n" }
            close STDOUT or die "write: $!\n";
        }
        elsif (($command || '') eq 'unpack' and @paths >= 2) {
            $chunks = absolute($paths[1]) . '/chunks';
            unpack_all(absolute($paths[0]), absolute($paths[2]));
        }
        elsif (($command || '') eq 'restore' and @paths >= 3) {
            $chunks = absolute($paths[1]) . '/chunks';
            restore(absolute($paths[0]), absolute($paths[2]), absolute($paths[3]));
        }
        else { die "see section A of README.txt\n" }
        __END__

        """##
}
