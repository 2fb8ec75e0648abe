# Completion of kubectl-mini for PowerShell: kubectl-mini completion powershell | Out-String | Invoke-Expression

Register-ArgumentCompleter -Native -CommandName 'kubectl-mini' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $words = @($commandAst.CommandElements |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { $_.Extent.Text })
    $program = $words[0]
    $before = @($words | Select-Object -Skip 1)
    # An empty last word must arrive as a word.
    $last = if ($wordToComplete) { $wordToComplete } else { '""' }
    $answer = @(& $program __complete @before $last 2>$null)
    if ($answer.Count -eq 0) { return }
    $directive = [int]$answer[-1].TrimStart(':')
    if ($directive -band 8) { return }
    $flag = if ($wordToComplete -match '^(--[^=]+=)') { $Matches[1] } else { '' }
    $space = if ($directive -band 2) { '' } else { ' ' }
    foreach ($line in ($answer | Select-Object -SkipLast 1)) {
        $word, $description = $line -split "`t", 2
        if (-not $description) { $description = $word }
        [System.Management.Automation.CompletionResult]::new(
            "$flag$word$space", $word, 'ParameterValue', $description)
    }
}
